package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/understudy-dr/understudy/activities/speech"
)

// cuts is where long audio is cut. The first runner decides; the others cut at
// the same places, even where their tools would choose others.
type cuts struct {
	Item  int64         `json:"item"`
	Spans []speech.Span `json:"spans"`
}

// part is the transcript of a piece; its times count from the piece's own start.
type part struct {
	Item     int64       `json:"item"`
	Part     int         `json:"part"`
	Span     speech.Span `json:"span"`
	Revision string      `json:"model_revision"`
	Body     Body        `json:"body"`
}

// spans returns where an item is cut, nil where nobody has decided yet.
func (s *Store) spans(ctx context.Context, j Job, v Variant, item int64) ([]speech.Span, error) {
	key := partKey(j.ID, v.ID, item, cutsName)
	content, err := s.read(ctx, key, Span{})
	if errors.Is(err, ErrMissing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var c cuts
	if json.Unmarshal(content, &c) != nil || c.Item != item || speech.CheckSpans(c.Spans) != nil {
		return nil, torn(key, "it does not say where item %d is cut", item)
	}
	return c.Spans, nil
}

// putSpans decides where an item is cut, and returns what was decided: by us, or by somebody before.
func (l *Lease) putSpans(ctx context.Context, v Variant, item int64, spans []speech.Span) ([]speech.Span, error) {
	err := l.put(ctx, partKey(l.job.ID, v.ID, item, cutsName), cuts{Item: item, Spans: spans})
	if errors.Is(err, ErrExists) {
		return l.store.spans(ctx, l.job, v, item)
	}
	return spans, err
}

// parts reads the pieces of an item that are done.
func (s *Store) parts(ctx context.Context, j Job, v Variant, item int64, spans []speech.Span) (map[int]speech.Transcript, error) {
	prefix := partKey(j.ID, v.ID, item, "")
	done := map[int]speech.Transcript{}
	for after := ""; ; {
		keys, err := s.objects.List(ctx, prefix, after, 0)
		if err != nil || len(keys) == 0 {
			return done, err
		}
		for _, key := range keys {
			n, err := strconv.Atoi(strings.TrimSuffix(key[len(prefix):], suffix))
			if err != nil || n < 0 || n >= len(spans) || key != partKey(j.ID, v.ID, item, partName(n)) {
				continue
			}
			t, err := s.part(ctx, key, v, item, n, spans[n])
			if err != nil {
				return nil, err
			}
			done[n] = t
		}
		after = keys[len(keys)-1]
	}
}

func (s *Store) part(ctx context.Context, key string, v Variant, item int64, n int, span speech.Span) (speech.Transcript, error) {
	content, err := s.read(ctx, key, Span{})
	if err != nil {
		return speech.Transcript{}, err
	}
	var p part
	if json.Unmarshal(content, &p) != nil || p.Item != item || p.Part != n || p.Span != span || p.Revision != v.Revision || p.Body.Text == nil {
		return speech.Transcript{}, torn(key, "it is no transcript of piece %d of item %d", n, item)
	}
	return p.Body.transcript(), nil
}

// putPart keeps the transcript of a piece, so that only the pieces in flight are
// done again after a crash. It returns what is kept: another runner may have been first.
func (l *Lease) putPart(ctx context.Context, v Variant, item int64, n int, span speech.Span, t speech.Transcript) (speech.Transcript, error) {
	key := partKey(l.job.ID, v.ID, item, partName(n))
	err := l.put(ctx, key, part{Item: item, Part: n, Span: span, Revision: v.Revision, Body: bodyOf(t, span.End-span.Start)})
	if errors.Is(err, ErrExists) {
		return l.store.part(ctx, key, v, item, n, span)
	}
	return t, err
}
