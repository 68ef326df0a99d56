// Package witness asks another machine to look, because from here a dead
// instance and a dead network look the same.
//
// One request goes to the witness, `understudy witness`, which looks with a
// prober of its own and says what it saw. Both the question and the answer are
// signed with a shared key (HMAC-SHA256) over a time, a nonce and the body, so
// that nobody else can make a witness look somewhere, and nobody can make us
// believe that a service is dead. The nonce of the question is in the signature
// of the answer: an old answer fits no new question.
package witness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// DefaultWay is how long the way to the witness and back may take beside its look.
	DefaultWay = time.Second
	// path is where a witness answers, below its base URL.
	path = "/probe"
	// maxMessage bounds a question and an answer, in bytes.
	maxMessage = 64 << 10
)

// Config says who the witness is.
type Config struct {
	// URL is the witness's base URL.
	URL string
	// Key is shared with the witness; at least MinKey bytes.
	Key []byte
	// Way is how long the way there and back may take. Default DefaultWay.
	Way time.Duration
}

// Prober asks a witness. It is safe for concurrent use.
type Prober struct {
	url    string
	key    []byte
	way    time.Duration
	client *http.Client
}

var _ probe.Prober = (*Prober)(nil)

// New makes a prober. It fails where the URL is unusable or the key too short.
func New(c Config) (*Prober, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("the witness's URL is not usable; it begins with http:// or https://")
	}
	if err := checkKey(c.Key); err != nil {
		return nil, err
	}
	if c.Way <= 0 {
		c.Way = DefaultWay
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = maxMessage
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	return &Prober{url: strings.TrimRight(c.URL, "/") + path, key: c.Key, way: c.Way, client: client}, nil
}

// Probe lets the witness look. It blocks for up to twice the health check's
// timeout, which is the witness's look, and the way there and back. What keeps
// the witness from speaking, or us from believing it, is Blind.
func (p *Prober) Probe(ctx context.Context, r probe.Request) probe.Result {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 2*r.Health.Timeout.Or(probe.DefaultTimeout)+p.way)
	defer cancel()
	seen, err := p.ask(ctx, r)
	if err != nil {
		blind := probe.CouldNot("the witness: " + reason(err))
		blind.At, blind.Took = began, runbooks.Duration(time.Since(began))
		return blind
	}
	// Its clock may differ from ours, within the window.
	seen.At = began
	return seen
}

func (p *Prober) ask(ctx context.Context, r probe.Request) (probe.Result, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return probe.Result{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return probe.Result{}, err
	}
	nonce, now := newNonce(), time.Now().Unix()
	request.Header.Set("Content-Type", "application/json")
	// A kept connection may have ended meanwhile; the header lets the client try once more on a new one.
	request.Header.Set("Idempotency-Key", nonce)
	request.Header.Set(headerNonce, nonce)
	request.Header.Set(headerTime, fmt.Sprint(now))
	request.Header.Set(headerSignature, sign(p.key, question, nonce, now, 0, body))
	resp, err := p.client.Do(request)
	if err != nil {
		return probe.Result{}, err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage))
	if err != nil {
		return probe.Result{}, err
	}
	return p.believe(resp, nonce, said)
}

// believe checks an answer before it takes anything from it.
func (p *Prober) believe(resp *http.Response, nonce string, said []byte) (probe.Result, error) {
	at, err := parseTime(resp.Header.Get(headerTime))
	if err != nil || !isSigned(p.key, resp.Header.Get(headerSignature), answer, nonce, at, resp.StatusCode, said) {
		return probe.Result{}, fmt.Errorf("HTTP %d: %w", resp.StatusCode, errUnsigned)
	}
	if far := apart(at, time.Now().Unix()); far != "" {
		return probe.Result{}, errors.New(far)
	}
	if resp.StatusCode != http.StatusOK {
		return probe.Result{}, fmt.Errorf("it refuses: %s", said)
	}
	var seen probe.Result
	if err := json.Unmarshal(said, &seen); err != nil {
		return probe.Result{}, fmt.Errorf("it says what we cannot read: %w", err)
	}
	switch seen.Finding {
	case runbooks.Answers, runbooks.Slow, runbooks.Errors, runbooks.Silent, runbooks.Refuses, runbooks.Unreachable, runbooks.Blind:
	default:
		return probe.Result{}, fmt.Errorf("it says %q, which is no finding; both sides need the same version", string(seen.Finding))
	}
	seen.Detail = probe.Printable(seen.Detail, 2*probe.QuoteLimit)
	return seen, nil
}

// reason leaves out of an error what people know: that it was a POST, and where to.
func reason(err error) string {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}
