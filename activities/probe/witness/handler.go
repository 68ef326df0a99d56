package witness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/activities/probe"
)

const (
	// maxNonces bounds the memory of questions; one a millisecond for a window is more than any site asks.
	maxNonces = 100_000
	// maxTimeout bounds a look.
	maxTimeout = 30 * time.Second
)

// Serving is what a witness needs.
type Serving struct {
	// Key is shared with those who may ask; at least MinKey bytes.
	Key []byte
	// Allowed says whether a base URL may be looked at: a witness serves no one else's curiosity.
	Allowed func(url string) bool
	// Prober looks.
	Prober probe.Prober
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Handler answers the questions of a Prober. A question is refused with a signed
// reason where its time is off or before the witness began, its nonce was seen,
// or its URL is not allowed; an unsigned one gets no more than 401.
func Handler(s Serving) (http.Handler, error) {
	if err := checkKey(s.Key); err != nil {
		return nil, err
	}
	if s.Allowed == nil || s.Prober == nil {
		return nil, errors.New("a witness needs a list of what it may look at, and a prober")
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	h := &handler{Serving: s, since: s.Now().Unix(), seen: nonces{until: map[string]int64{}}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+path, h.serve)
	return mux, nil
}

type handler struct {
	Serving
	// since is when it began: which questions were answered before that, nobody remembers.
	since int64
	seen  nonces
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	if err != nil {
		http.Error(w, "the question cannot be read", http.StatusBadRequest)
		return
	}
	nonce := r.Header.Get(headerNonce)
	at, err := parseTime(r.Header.Get(headerTime))
	if err != nil || !isNonce(nonce) || !isSigned(h.Key, r.Header.Get(headerSignature), question, nonce, at, 0, body) {
		http.Error(w, "the question is not signed with this witness's key", http.StatusUnauthorized)
		return
	}
	status, said := h.answer(r.Context(), nonce, at, body)
	now := h.Now().Unix()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(headerTime, fmt.Sprint(now))
	w.Header().Set(headerSignature, sign(h.Key, answer, nonce, now, status, said))
	w.WriteHeader(status)
	_, _ = w.Write(said)
}

// answer looks, once the question has shown that it may be asked.
func (h *handler) answer(ctx context.Context, nonce string, at int64, body []byte) (int, []byte) {
	now := h.Now().Unix()
	if far := apart(at, now); far != "" {
		return http.StatusForbidden, []byte(far)
	}
	if at < h.since {
		return http.StatusForbidden, []byte("the question is older than this witness, which has just begun; ask again")
	}
	if err := h.seen.take(nonce, at+int64(Window.Seconds()), now); err != nil {
		return http.StatusConflict, []byte(err.Error())
	}
	var r probe.Request
	if err := json.Unmarshal(body, &r); err != nil {
		return http.StatusBadRequest, []byte("the question is no request: " + err.Error())
	}
	if !h.Allowed(r.URL) {
		return http.StatusForbidden, []byte("this witness may not look at " + probe.Printable(r.URL, probe.QuoteLimit))
	}
	if r.Health.Timeout.D() > maxTimeout {
		return http.StatusBadRequest, fmt.Appendf(nil, "a look of %s is too long; at most %s", r.Health.Timeout, maxTimeout)
	}
	said, err := json.Marshal(h.Prober.Probe(ctx, r))
	if err != nil {
		return http.StatusInternalServerError, []byte(err.Error())
	}
	return http.StatusOK, said
}

// nonces remembers which questions were answered, for as long as their time is good.
type nonces struct {
	mu    sync.Mutex
	until map[string]int64
}

// take fails where the nonce was taken, or where there is no room to remember it.
func (n *nonces) take(nonce string, until, now int64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.until[nonce]; ok {
		return errors.New("this question was asked before")
	}
	if len(n.until) >= maxNonces {
		for old, end := range n.until {
			if end < now {
				delete(n.until, old)
			}
		}
	}
	if len(n.until) >= maxNonces {
		return errors.New("too many questions within a minute")
	}
	n.until[nonce] = until
	return nil
}
