package jobs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/activities/speech"
)

// ownError is what went wrong on this side: with the store, the lease, the
// revision, or because the service is away. No item is to blame.
type ownError struct {
	error
	// sent says that the service may have worked on the audio nevertheless.
	sent bool
}

func (e *ownError) Unwrap() error { return e.error }

func ours(err error) error { return &ownError{error: err} }

func oursAfter(err error) error { return &ownError{error: err, sent: true} }

// transcribe sends an item, whole or in pieces, and says in how many.
func (x *run) transcribe(ctx context.Context, t task, file File, seconds float64, alone bool) (speech.Transcript, int, error) {
	if x.Cutter == nil || seconds <= x.job.Params.ChunkSeconds {
		transcript, err := x.request(ctx, whole(t.AudioPath, file), seconds, alone)
		if x.Cutter == nil || speech.Status(err) != http.StatusRequestEntityTooLarge {
			return transcript, 0, err
		}
		// Pieces are plain 16 kHz audio, often smaller than the original.
	}
	return x.transcribePieces(ctx, t, file, alone)
}

// transcribePieces sends long audio piece by piece. Each one is kept, so that
// whoever comes after us goes on behind it.
func (x *run) transcribePieces(ctx context.Context, t task, file File, alone bool) (speech.Transcript, int, error) {
	pieces, err := x.cut(ctx, t, file)
	if err != nil {
		return speech.Transcript{}, 0, err
	}
	defer pieces.Close()
	spans := pieces.Spans
	var done map[int]speech.Transcript
	err = x.patiently(ctx, func() (err error) {
		done, err = x.Store.parts(ctx, x.job, x.variant, t.Index, spans)
		return err
	})
	if err != nil {
		return speech.Transcript{}, 0, ours(err)
	}
	heard := make([]speech.Transcript, len(spans))
	name := strings.TrimSuffix(path.Base(t.AudioPath), path.Ext(t.AudioPath))
	for i, span := range spans {
		if transcript, is := done[i]; is {
			heard[i] = transcript
			continue
		}
		audio := pieces.Audio(i)
		audio.Name = fmt.Sprintf("%s-%04d.wav", name, i)
		transcript, err := x.request(ctx, audio, span.End-span.Start, alone)
		if err != nil {
			return speech.Transcript{}, 0, err
		}
		err = x.write(ctx, func(ctx context.Context) (err error) {
			heard[i], err = x.lease.putPart(ctx, x.variant, t.Index, i, span, transcript)
			return err
		})
		if err != nil {
			x.window.lose(span.End - span.Start)
			return speech.Transcript{}, 0, ours(err)
		}
	}
	return speech.Merge(spans, heard), len(spans), nil
}

// cut cuts the audio of an item where the ledger says, and decides it where the
// ledger does not. Should another runner decide first, it is cut again.
func (x *run) cut(ctx context.Context, t task, file File) (speech.Pieces, error) {
	var decided []speech.Span
	err := x.patiently(ctx, func() (err error) {
		decided, err = x.Store.spans(ctx, x.job, x.variant, t.Index)
		return err
	})
	if err != nil {
		return speech.Pieces{}, ours(err)
	}
	for {
		limit := time.Duration(x.job.Params.ChunkSeconds * float64(time.Second))
		pieces, err := x.Cutter.Cut(ctx, file.Path, limit, decided)
		if err != nil {
			if !errors.Is(err, speech.ErrItem) {
				err = ours(err)
			}
			return speech.Pieces{}, err
		}
		if decided != nil {
			return pieces, nil
		}
		err = x.write(ctx, func(ctx context.Context) (err error) {
			decided, err = x.lease.putSpans(ctx, x.variant, t.Index, pieces.Spans)
			return err
		})
		if err == nil && slices.Equal(decided, pieces.Spans) {
			return pieces, nil
		}
		pieces.Close()
		if err != nil {
			return speech.Pieces{}, ours(err)
		}
	}
}

// request sends audio once, if the service is there. While it is away, which is
// no audio's fault, it is waited for.
func (x *run) request(ctx context.Context, audio speech.Audio, seconds float64, alone bool) (speech.Transcript, error) {
	p := x.job.Params
	r := speech.TranscribeRequest{
		URL: x.work.URL, Dialect: p.Dialect, Path: p.Path, Model: p.Model, Language: p.Language, Hotwords: p.Hotwords,
		Audio: audio, Timeout: speech.LimitFor(seconds, x.work.Claim.Lanes),
	}
	began, pause := time.Now(), x.Backoff
	for {
		transcript, err := x.once(ctx, r, alone)
		switch speech.BlameOf(err) {
		case speech.Nobody:
			if err := x.confirmed(ctx); err != nil {
				x.window.lose(seconds)
				return speech.Transcript{}, oursAfter(err)
			}
			x.gate.well()
			return transcript, nil
		case speech.TheItem:
			x.gate.well()
			return speech.Transcript{}, err
		case speech.Perhaps:
			x.window.lose(seconds)
			x.gate.ill()
			return speech.Transcript{}, err
		case speech.Ourselves:
			if own := (*ownError)(nil); !errors.As(err, &own) {
				x.window.lose(seconds)
				err = oursAfter(err)
			}
			return speech.Transcript{}, err
		}
		x.gate.ill()
		if time.Since(began) >= x.work.Patience || x.stopped() {
			return speech.Transcript{}, ours(fmt.Errorf("%w: %w", ErrAway, err))
		}
		if err := sleep(ctx, pause); err != nil {
			return speech.Transcript{}, ours(err)
		}
		pause = min(2*pause, longestBackoff)
	}
}

// confirmed asks for the revision that gave an answer. While the service does not
// tell it is asked again: the answer is good if the revision is the same afterwards.
// That goes on when the run is to end, too: the answer is here, and minutes of audio were sent for it.
func (x *run) confirmed(ctx context.Context) error {
	began, pause := time.Now(), x.Backoff
	for {
		err := x.confirm.revision(ctx, x.job.ID, x.variant.Revision)
		if !errors.Is(err, ErrAway) || time.Since(began) >= x.work.Patience {
			return err
		}
		x.gate.ill()
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, longestBackoff)
	}
}

// once sends a request when the gate lets it through; who is alone is inside already.
func (x *run) once(ctx context.Context, r speech.TranscribeRequest, alone bool) (speech.Transcript, error) {
	if !alone {
		if err := x.gate.enter(ctx, false); err != nil {
			return speech.Transcript{}, ours(fmt.Errorf("%w: %w", context.Canceled, err))
		}
		defer x.gate.leave()
	}
	return x.Speech.Transcribe(ctx, r)
}

// sent is how much of an item is in flight at most.
func (x *run) sent(seconds float64) float64 {
	if x.Cutter == nil {
		return seconds
	}
	return min(seconds, x.job.Params.ChunkSeconds)
}

func (x *run) stopped() bool {
	select {
	case <-x.work.Stop:
		return true
	default:
		return false
	}
}

// failures notices when every item fails in the same way.
type failures struct {
	ignored bool

	mu   sync.Mutex
	kind string
	n    int
}

// manyFailures is how many items in a row must fail in the same way.
const manyFailures = 16

// add counts a failure, and returns ErrAllFail where there were too many.
func (f *failures) add(kind string, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ignored {
		return nil
	}
	if f.kind != kind {
		f.kind, f.n = kind, 0
	}
	if f.n++; f.n < manyFailures {
		return nil
	}
	return fmt.Errorf("%w: %d in a row: %w", ErrAllFail, f.n, err)
}

// clear is called for a success: from now on it is the items.
func (f *failures) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ignored = true
}
