package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/site/audio"
)

const (
	// pace is the time between two requests at one front door. They begin when they are due, whether those before
	// them were answered or not, as requests of many people do: who waits hides no failure.
	pace = 10 * time.Millisecond
	// clientPatience is how long a client waits for its answer.
	clientPatience = 5 * time.Second
	// slow is an answer after which people think that something is wrong; these answers take milliseconds.
	slow = 500 * time.Millisecond
	// thinking is how long a transcription takes here.
	thinking = 5 * time.Millisecond
)

// stream is what the users of one front door see.
type stream struct {
	method, url string
	recording   []byte
	client      *http.Client
	stop        context.CancelFunc
	sending     sync.WaitGroup

	mu      sync.Mutex
	answers []answer
}

// answer is what came of one request.
type answer struct {
	began, ended time.Time
	// problem says why it is not a good one; empty where it is.
	problem string
	// server is who gave it.
	server string
}

// startStream begins to send requests to a front door, each over a connection of its own, as curl does.
func startStream(ctx context.Context, front, method string) *stream {
	ctx, stop := context.WithCancel(ctx)
	s := &stream{
		method: method, url: front + models, stop: stop,
		client: &http.Client{Timeout: clientPatience, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	if method == http.MethodPost {
		s.url, s.recording = front+transcription, audio.Silence(3*time.Second).WAV()
	}
	s.sending.Go(func() {
		for due := time.Now(); ; due = due.Add(pace) {
			pause(ctx, time.Until(due)) // on a busy machine what was missed is made up for
			if ctx.Err() != nil {
				return
			}
			s.sending.Go(s.send)
		}
	})
	return s
}

// close ends the stream, after the requests that are on their way.
func (s *stream) close() {
	s.stop()
	s.sending.Wait()
}

// send is one request.
func (s *stream) send() {
	a := answer{began: time.Now()}
	err := s.ask(&a.server)
	a.ended = time.Now()
	if err != nil {
		a.problem = cause(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = append(s.answers, a)
}

func (s *stream) ask(server *string) error {
	request, err := http.NewRequest(s.method, s.url, bytes.NewReader(s.recording))
	if err != nil {
		return err
	}
	if s.recording != nil {
		request.Header.Set("Content-Type", "audio/wav")
	}
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	*server = response.Header.Get(harness.ServerHeader)
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("HTTP %d", response.StatusCode)
	case s.recording == nil:
		return nil
	}
	var said struct{ Text string }
	if err := json.Unmarshal(body, &said); err != nil || said.Text != audio.Digits {
		return fmt.Errorf("a wrong answer: %.50q", body)
	}
	return nil
}

// tally is what users saw of a fault.
type tally struct {
	// asked are the requests that were under way at the fault or came after it; failed those without a good answer,
	// inside those of them that were under way: most of these nobody can save.
	asked, failed, inside int
	// again is how long it took until no request failed or was slow any more.
	again time.Duration
	// never means that it lasted to the end of the stream.
	never bool
	// problems counts what those that failed met with.
	problems map[string]int
}

// tally counts from the moment of the fault; end is when the last request was sent.
func (s *stream) tally(fault, end time.Time) tally {
	s.mu.Lock()
	answers := slices.Clone(s.answers)
	s.mu.Unlock()
	t := tally{problems: map[string]int{}}
	for _, a := range answers {
		if a.ended.Before(fault) {
			continue
		}
		t.asked++
		until := fault
		switch {
		case a.problem != "":
			t.failed++
			t.problems[a.problem]++
			if a.began.Before(fault) {
				t.inside++
			}
			until = a.began // how long this client waited for nothing is its own patience
		case a.ended.Sub(a.began) > slow:
			until = a.ended
		}
		t.again = max(t.again, until.Sub(fault))
	}
	t.never = t.again > end.Sub(fault)-2*slow
	return t
}

// healthy reports whether the latest requests were answered well, by the server named.
func (s *stream) healthy(server string, latest int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.answers) < latest {
		return fmt.Errorf("%d requests were answered yet", len(s.answers))
	}
	for _, a := range s.answers[len(s.answers)-latest:] {
		if a.problem != "" || a.server != server {
			return fmt.Errorf("%s %s is answered by %q: %s", s.method, s.url, a.server, a.problem)
		}
	}
	return nil
}

// cause is what a request met with, without method and URL, so that equal ones can be counted.
func cause(err error) string {
	var wrapped *url.Error
	switch {
	case errors.As(err, &wrapped) && wrapped.Timeout():
		return "no answer in " + clientPatience.String()
	case errors.As(err, &wrapped):
		return wrapped.Err.Error()
	default:
		return err.Error()
	}
}
