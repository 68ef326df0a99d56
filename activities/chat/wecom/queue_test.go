package wecom

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/chat"
	"github.com/understudy-dr/understudy/tests/fakewecom"
)

// scene is a robot whose first message is on its way until it is released.
type scene struct {
	server  *fakewecom.Running
	m       *Messenger
	release func()
	news    sync.WaitGroup
	errs    chan error
}

func onItsWay(t *testing.T) *scene {
	t.Helper()
	arrived, released := make(chan bool), make(chan bool)
	first := true
	server, err := fakewecom.Start("127.0.0.1:0", fakewecom.Options{OnMessage: func(string) {
		if first {
			first = false
			close(arrived)
			<-released
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	m, err := New(Config{Key: fakewecom.Key, APIURL: server.URL, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{server: server, m: m, release: sync.OnceFunc(func() { close(released) }), errs: make(chan error, 100)}
	t.Cleanup(s.release)
	s.news.Go(func() { s.errs <- m.Update(t.Context(), chat.Ref{ID: "first"}, chat.Message{Headline: "first"}) })
	<-arrived
	return s
}

// tell hands over a state, and returns once it waits: the first message is on its way.
func (s *scene) tell(ctx context.Context, story string, state chat.Message) {
	before := s.queued()
	s.news.Go(func() { s.errs <- s.m.Update(ctx, chat.Ref{ID: story}, state) })
	for s.queued() == before {
		time.Sleep(time.Millisecond)
	}
}

func (s *scene) queued() int {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	return len(s.m.waiting)
}

func (s *scene) wait(t *testing.T) {
	t.Helper()
	s.news.Wait()
	close(s.errs)
	for err := range s.errs {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestWhatWaitsGoesTogether(t *testing.T) {
	s := onItsWay(t)
	for i := range 10 {
		s.tell(t.Context(), fmt.Sprintf("story-%d", i%5), chat.Message{
			Headline: fmt.Sprintf("story-%d: state %d", i%5, i/5), Actions: []chat.Action{{Text: "Approve"}}, Links: []chat.Link{{Text: "Console", URL: "https://console.example"}},
		})
	}
	s.release()
	s.wait(t)
	seen := s.server.Transcript()
	if len(s.server.Messages()) != 2 || strings.Contains(seen, "state 0") {
		t.Errorf("people read:\n%s", seen)
	}
	for i := range 5 {
		if !strings.Contains(seen, fmt.Sprintf("story-%d: state 1\n  A person must decide. Console (https://console.example)", i)) {
			t.Errorf("people do not read the newest of story %d:\n%s", i, seen)
		}
	}
}

// One story that WeCom refuses must not silence the others that were to go with it.
func TestADigestThatIsRefusedGoesInParts(t *testing.T) {
	s := onItsWay(t)
	for i := range 3 {
		s.tell(t.Context(), fmt.Sprint(i), chat.Message{Headline: fmt.Sprintf("story %d", i)})
	}
	s.server.Inject(fakewecom.Fault{Code: 40058, Times: 2}) // the digest, and the first story alone
	s.release()
	s.news.Wait()
	close(s.errs)
	refused := 0
	for err := range s.errs {
		if err != nil {
			refused++
			if !errors.Is(err, chat.ErrRefused) {
				t.Error(err)
			}
		}
	}
	seen := s.server.Transcript()
	if refused != 1 || strings.Contains(seen, "story 0") || !strings.Contains(seen, "story 1") || !strings.Contains(seen, "story 2") {
		t.Errorf("%d refused, people read:\n%s", refused, seen)
	}
}

// News for which nobody waits any more are not sent: their sender comes again with newer ones.
func TestWhoLeavesTakesTheirNewsAlong(t *testing.T) {
	s := onItsWay(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.tell(ctx, "old", chat.Message{Headline: "old state"})
	s.tell(t.Context(), "other", chat.Message{Headline: "another story"})
	cancel()
	if err := <-s.errs; !errors.Is(err, chat.ErrUnavailable) {
		t.Errorf("who left: %v", err)
	}
	s.release()
	s.wait(t)
	if seen := s.server.Transcript(); strings.Contains(seen, "old state") || !strings.Contains(seen, "another story") {
		t.Errorf("people read:\n%s", seen)
	}
}

func TestPace(t *testing.T) {
	now := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	var p pace
	var waits []time.Duration
	for range 25 {
		wait := p.wait(now)
		waits = append(waits, wait)
		now = now.Add(wait)
		p.took(now)
	}
	for i, want := range map[int]time.Duration{0: 0, 7: 0, 8: 5 * time.Second, 19: 5 * time.Second} {
		if waits[i] != want {
			t.Errorf("message %d waits %s, want %s", i+1, waits[i], want)
		}
	}
	p.rest(now, time.Hour)
	if wait := p.wait(now); wait != time.Hour {
		t.Errorf("a pause of an hour: %s", wait)
	}
	if wait := p.wait(now.Add(time.Hour)); wait != 0 {
		t.Errorf("after it: %s", wait)
	}
}
