package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/site/audio"
)

const (
	// clientCount clients send a request each beat. A request takes a sixth of a second of one processor: the
	// demo must not starve itself on a small machine.
	clientCount = 2
	beat        = 500 * time.Millisecond
	// clientPatience is how long a client waits for its answer.
	clientPatience = 10 * time.Second
)

// clients are the people who use the service: they send a recording through the
// front door again and again, each time over a new connection, as curl does,
// and read what comes back.
type clients struct {
	url         string
	body        []byte
	contentType string
	http        *http.Client
	stop        context.CancelFunc
	done        sync.WaitGroup

	mu      sync.Mutex
	answers []answer
}

// answer is what came of one request.
type answer struct {
	began, ended time.Time
	// server is who gave it, where it is good.
	server string
	// failure says why it is not good; empty where it is.
	failure string
}

// startClients starts the stream of requests.
func startClients(ctx context.Context, front string, recording []byte) (*clients, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	file, err := form.CreateFormFile("file", harness.Recording)
	if err != nil {
		return nil, err
	}
	_, _ = file.Write(recording) // a buffer takes everything
	if err := form.Close(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	c := &clients{
		url: front + "/v1/audio/transcriptions", body: body.Bytes(), contentType: form.FormDataContentType(), stop: stop,
		http: &http.Client{Timeout: clientPatience, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	for i := range clientCount {
		c.done.Go(func() { c.run(ctx, beat*time.Duration(i)/clientCount) })
	}
	return c, nil
}

// close ends the stream after the requests that are on their way.
func (c *clients) close() {
	c.stop()
	c.done.Wait()
}

// run is one client, which begins a little later than the one before it.
func (c *clients) run(ctx context.Context, delay time.Duration) {
	for next := time.Now().Add(delay); ; next = next.Add(beat) {
		if late := time.Since(next); late > 0 {
			next = time.Now() // a slow answer is not made up for
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
		}
		// A request that has begun is not taken back, or the end of the demo would look like a failure.
		a := c.ask(context.WithoutCancel(ctx))
		c.mu.Lock()
		c.answers = append(c.answers, a)
		c.mu.Unlock()
	}
}

// ask sends one request.
func (c *clients) ask(ctx context.Context) answer {
	a := answer{began: time.Now()}
	text, server, err := c.transcribe(ctx)
	a.ended = time.Now()
	switch {
	case err != nil:
		a.failure = err.Error()
	case text != audio.Digits:
		a.failure = fmt.Sprintf("a wrong text: %q", text)
	default:
		a.server = server
	}
	return a
}

func (c *clients) transcribe(ctx context.Context) (text, server string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(c.body))
	if err != nil {
		return "", "", err
	}
	request.Header.Set("Content-Type", c.contentType)
	response, err := c.http.Do(request)
	if err != nil {
		return "", "", err
	}
	defer response.Body.Close()
	answered, err := io.ReadAll(response.Body)
	if err != nil {
		return "", "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", "", fmt.Errorf("HTTP %s", strings.TrimSpace(response.Status))
	}
	var transcript struct {
		Text string `json:"text"`
	}
	err = json.Unmarshal(answered, &transcript)
	return transcript.Text, response.Header.Get(harness.ServerHeader), err
}

// tally is what the clients have seen.
type tally struct {
	asked int
	// by is the good answers by who gave them.
	by     map[string]int
	failed []answer
	// median and slowest are of the good answers.
	median, slowest time.Duration
	// silence is the longest time without a good answer, among all clients.
	silence time.Duration
	// answers are all of it, in the order in which they ended.
	answers []answer
}

// all is what the clients have seen so far.
func (c *clients) all() tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	return count(slices.Clone(c.answers))
}

func count(answers []answer) tally {
	t := tally{asked: len(answers), by: map[string]int{}, answers: answers}
	var took []time.Duration
	var last time.Time
	slices.SortFunc(answers, func(a, b answer) int { return a.ended.Compare(b.ended) })
	for i, a := range answers {
		if a.failure != "" {
			if i == len(answers)-1 && !last.IsZero() {
				t.silence = max(t.silence, a.ended.Sub(last)) // it lasts
			}
			t.failed = append(t.failed, a)
			continue
		}
		t.by[a.server]++
		took = append(took, a.ended.Sub(a.began))
		if !last.IsZero() {
			t.silence = max(t.silence, a.ended.Sub(last))
		}
		last = a.ended
	}
	if len(took) > 0 {
		slices.Sort(took)
		t.median, t.slowest = took[len(took)/2], took[len(took)-1]
	}
	return t
}

// between is what ended in a span of time; a zero time is no bound.
func (t tally) between(from, to time.Time) tally {
	return count(slices.DeleteFunc(slices.Clone(t.answers), func(a answer) bool {
		return a.ended.Before(from) || !to.IsZero() && !a.ended.Before(to)
	}))
}

func (t tally) String() string {
	var by []string
	for _, server := range servers {
		if t.by[server] > 0 {
			by = append(by, fmt.Sprintf("%s %d", server, t.by[server]))
		}
	}
	return fmt.Sprintf("clients: %d answered (%s), %d failed", t.asked-len(t.failed), strings.Join(by, ", "), len(t.failed))
}
