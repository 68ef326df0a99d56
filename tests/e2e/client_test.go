package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/tests/site/audio"
)

// pace is the pause between two requests of a caller.
const pace = 5 * time.Millisecond

// looked is what callers get: a path that neither Understudy nor a load balancer asks for.
const looked = "/v1/models"

// heard is the path of a transcription.
const heard = "/v1/audio/transcriptions"

// caller asks the service again and again at its front door, each time over a
// new connection, as many callers do who each ask once.
type caller struct {
	ask  func(ctx context.Context) error
	stop context.CancelFunc
	done chan struct{}

	// asking is held while a request is under way.
	asking sync.Mutex

	mu               sync.Mutex
	answered, failed int
	problem          error
}

// call begins to ask, until the test ends. A request may take the patience.
func call(t *testing.T, front string, patience time.Duration) *caller {
	t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	return callWith(t, func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, front+looked, nil)
		if err != nil {
			return err
		}
		return wanted(client.Do(r))
	})
}

func callWith(t *testing.T, ask func(ctx context.Context) error) *caller {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c := &caller{ask: ask, stop: stop, done: make(chan struct{})}
	go c.run(ctx)
	t.Cleanup(c.end)
	return c
}

func (c *caller) run(ctx context.Context) {
	defer close(c.done)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.asking.Lock()
		err := c.ask(ctx)
		c.asking.Unlock()
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		if err == nil {
			c.answered++
		} else {
			c.failed++
			c.problem = err
		}
		c.mu.Unlock()
	}
}

func (c *caller) end() {
	c.stop()
	<-c.done
}

// counts are how many requests were answered well, and how many were not.
func (c *caller) counts() (answered, failed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answered, c.failed
}

// why is what the last request that was not answered well met with.
func (c *caller) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.problem
}

// between does something while no request is under way.
func (c *caller) between(do func()) {
	c.asking.Lock()
	defer c.asking.Unlock()
	do()
}

// answers waits until so many more requests were answered well.
func (c *caller) answers(t *testing.T, more int) {
	t.Helper()
	before, _ := c.counts()
	eventually(t, func(context.Context) error {
		answered, failed := c.counts()
		if answered < before+more {
			return fmt.Errorf("%d answered since, %d failed: %w", answered-before, failed, c.why())
		}
		return nil
	})
}

// asks waits until so many more requests came to an end, whichever.
func (c *caller) asks(t *testing.T, more int) {
	t.Helper()
	answered, failed := c.counts()
	before := answered + failed
	eventually(t, func(context.Context) error {
		if answered, failed := c.counts(); answered+failed < before+more {
			return fmt.Errorf("%d requests since", answered+failed-before)
		}
		return nil
	})
}

// wanted is the error of a request that was not answered with 200.
func wanted(response *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// long is a recording that keeps a recognizer busy for some seconds.
func long(t *testing.T, times int) audio.Clip {
	t.Helper()
	clip, err := audio.Say(t.Context(), audio.Digits)
	if err != nil {
		t.Fatal(err)
	}
	return clip.Repeat(times, 200*time.Millisecond)
}

// transcribe sends a recording and returns what was heard.
func transcribe(ctx context.Context, base string, clip audio.Clip) (string, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	file, err := form.CreateFormFile("file", "long.wav")
	if err == nil {
		_, err = file.Write(clip.WAV())
	}
	if err := errors.Join(err, form.Close()); err != nil {
		return "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+heard, &body)
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", form.FormDataContentType())
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", response.Status, text)
	}
	var said struct{ Text string }
	return said.Text, json.Unmarshal(text, &said)
}

// heardOf is what comes of a recording that is sent in the background.
type heardOf struct {
	text string
	err  error
}

// transcribing sends a recording in the background.
func transcribing(t *testing.T, base string, clip audio.Clip) <-chan heardOf {
	t.Helper()
	out := make(chan heardOf, 1)
	ctx := t.Context()
	go func() {
		text, err := transcribe(ctx, base, clip)
		out <- heardOf{text, err}
	}()
	return out
}
