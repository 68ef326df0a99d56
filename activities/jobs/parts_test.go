package jobs

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestDecide(t *testing.T) {
	head := func(state State, epoch int64) Head {
		return Head{Job: "nightly", State: state, Epoch: epoch, Holder: "a", Session: "s"}
	}
	for _, tt := range []struct {
		name  string
		head  Head
		age   time.Duration
		claim Claim
		want  error
	}{
		{"new", head(Waiting, 0), 0, Claim{Holder: "b"}, nil},
		{"waiting at this epoch", head(Waiting, 5), 0, Claim{Holder: "b", Epoch: 5}, nil},
		{"waiting at a newer epoch", head(Waiting, 6), time.Hour, Claim{Holder: "a", Epoch: 5, Takeover: true}, ErrHeld},
		{"held", head(Running, 5), 0, Claim{Holder: "b", Epoch: 5}, ErrHeld},
		{"held, nearly silent for long enough", head(Running, 5), 59 * time.Second, Claim{Holder: "b", Epoch: 5}, ErrHeld},
		{"held by the dead", head(Running, 5), time.Minute, Claim{Holder: "b", Epoch: 5}, nil},
		{"held by the dead, says the impatient", head(Running, 5), 3 * time.Second, Claim{Holder: "b", Patience: 2 * time.Second}, nil},
		{"held by itself", head(Running, 5), 0, Claim{Holder: "a"}, nil},
		{"held at an older epoch", head(Running, 5), 0, Claim{Holder: "b", Epoch: 6}, nil},
		{"held, and somebody insists", head(Running, 5), 0, Claim{Holder: "b", Takeover: true}, nil},
		{"finished", head(Finished, 5), 0, Claim{Holder: "b", Epoch: 6}, ErrFinished},
		{"cancelled", head(Cancelled, 5), time.Hour, Claim{Holder: "a", Epoch: 6, Takeover: true}, ErrCancelled},
		{"deleted", head(Deleted, 5), time.Hour, Claim{Holder: "a", Epoch: 6}, ErrCancelled},
	} {
		if err := decide(tt.head, tt.age, tt.claim); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestBelievable(t *testing.T) {
	for _, tt := range []struct {
		name            string
		monotonic, wall time.Duration
		want            bool
	}{
		{"just now", time.Second, time.Second, true},
		{"a while ago", 3 * time.Second, 3 * time.Second, false},
		{"the machine was suspended", time.Second, time.Hour, false},
		{"the clock was set back", time.Second, -time.Hour, false},
		{"the clock was set a little", time.Second, -time.Second, true},
	} {
		if got := believable(tt.monotonic, tt.wall); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestPlaces(t *testing.T) {
	last := ""
	for _, item := range []int64{0, 1, 63, 64, 999, 1000, 1001, 123456, 999_999_999} {
		key := resultKey("j", "v", item)
		if key <= last {
			t.Errorf("%s comes before %s", key, last)
		}
		last = key
		got, rest, ok := parsePlace(strings.TrimPrefix(key, "j/results/v/"))
		if !ok || got != item || rest != ".json" {
			t.Errorf("%s is item %d, rest %q, %v", key, got, rest, ok)
		}
	}
	for _, bad := range []string{"", "000000", "000000/00000000", "000000/00000000x", "000001/000000000.json", "0000000000000001", "00000a/000000001"} {
		if item, _, ok := parsePlace(bad); ok {
			t.Errorf("%q is item %d", bad, item)
		}
	}
	for name, want := range map[string]int{"001.json": 1, "012.json": 12, "1000.json": 1000, "1.json": 0, "000.json": 0, "-01.json": 0, "001": 0, "failed.json": 0} {
		if got, ok := parseAttempt(name); ok != (want > 0) || ok && got != want {
			t.Errorf("%s is attempt %d, %v", name, got, ok)
		}
	}
}

func TestVariants(t *testing.T) {
	base := Job{Manifest: Manifest{SHA256: "aa"}, Params: Params{Model: "m", ChunkSeconds: 540}}
	seen := map[string]string{}
	for name, change := range map[string]func(*Job){
		"as it is":         func(*Job) {},
		"another manifest": func(j *Job) { j.Manifest.SHA256 = "bb" },
		"another model":    func(j *Job) { j.Params.Model = "n" },
		"a language":       func(j *Job) { j.Params.Language = "zh" },
		"hot words":        func(j *Job) { j.Params.Hotwords = []string{"a", "b"} },
		"another chunk":    func(j *Job) { j.Params.ChunkSeconds = 300 },
		"a dialect":        func(j *Job) { j.Params.Dialect = "funasr" },
		"a path":           func(j *Job) { j.Params.Path = "/asr" },
	} {
		j := base
		change(&j)
		for _, revision := range []string{"1", "2"} {
			v := j.Variant(revision)
			if other, taken := seen[v.ID]; taken || !variantPattern.MatchString(v.ID) || v.Revision != revision {
				t.Errorf("%s with revision %s has the id %q of %s", name, revision, v.ID, other)
			}
			seen[v.ID] = name
		}
	}
	// What decides nothing about a transcript changes no key.
	other := base
	other.Concurrency, other.Attempts, other.ID = 9, 9, "other"
	if base.Variant("1") != other.Variant("1") {
		t.Error("the concurrency is a part of the key")
	}
}

func TestWithFields(t *testing.T) {
	fields := []field{{"pred_text", `文 <b> "q"`}}
	for in, want := range map[string]string{
		`{"audio_filepath":"a.wav","duration":1.50,"big":12345678901234567890,"n":{"a":[1, 2]},"e":"\u00e9"}`: `{"audio_filepath": "a.wav", "duration": 1.50, "big": 12345678901234567890, "n": {"a":[1, 2]}, "e": "\u00e9", "pred_text": "文 <b> \"q\""}`,
		`{"pred_text": "old", "x": 1}`: `{"x": 1, "pred_text": "文 <b> \"q\""}`,
		`{}`:                           `{"pred_text": "文 <b> \"q\""}`,
	} {
		if got, err := withFields([]byte(in), fields); err != nil || string(got) != want+"\n" {
			t.Errorf("%s\n got %s\nwant %s, %v", in, got, want, err)
		}
	}
	for _, bad := range []string{"", "[]", `"x"`, `{"a"`, `{"a":}`} {
		if got, err := withFields([]byte(bad), fields); err == nil {
			t.Errorf("%q became %s", bad, got)
		}
	}
}

func TestWindow(t *testing.T) {
	w := newWindow(Head{Window: Window{Position: Position{Item: 10, Byte: 100}, End: 12}, Counts: Counts{Succeeded: 9, Failed: 1, AudioSeconds: 90}})
	var tasks []task
	for i := range int64(5) {
		tasks = append(tasks, task{Item: Item{Index: 10 + i, Seconds: 2, After: Position{Item: 11 + i, Byte: 110 + 10*i}}})
	}
	w.add(tasks)
	var h Head
	for _, step := range []struct {
		item    int64
		outcome settled
		next    Position
		before  Counts // of the items before the window
		all     Counts
	}{
		{12, succeeded, Position{10, 100}, Counts{Succeeded: 9, Failed: 1, AudioSeconds: 90}, Counts{Succeeded: 10, Failed: 1, AudioSeconds: 92}},
		{11, failed, Position{10, 100}, Counts{Succeeded: 9, Failed: 1, AudioSeconds: 90}, Counts{Succeeded: 10, Failed: 2, AudioSeconds: 92}},
		{10, succeeded, Position{13, 130}, Counts{Succeeded: 11, Failed: 2, AudioSeconds: 94}, Counts{Succeeded: 11, Failed: 2, AudioSeconds: 94}},
		{14, quarantined, Position{13, 130}, Counts{Succeeded: 11, Failed: 2, AudioSeconds: 94}, Counts{Succeeded: 11, Failed: 2, Quarantined: 1, AudioSeconds: 94}},
		{13, succeeded, Position{15, 150}, Counts{Succeeded: 12, Failed: 2, Quarantined: 1, AudioSeconds: 96}, Counts{Succeeded: 12, Failed: 2, Quarantined: 1, AudioSeconds: 96}},
	} {
		w.settle(step.item, step.outcome)
		w.write(&h)
		if next, all := w.progress(); h.Window != (Window{step.next, 15}) || next != step.next || h.Counts != step.before || all != step.all {
			t.Errorf("after item %d: %+v, %+v, in all %+v", step.item, h.Window, h.Counts, all)
		}
	}
	if w.size() != 0 {
		t.Errorf("%d items are left", w.size())
	}
}

func TestGateGrows(t *testing.T) {
	g := newGate(3, true)
	enter := func(alone bool) bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.try(alone)
	}
	for want := 1; want <= 4; want++ {
		n := 0
		for enter(false) {
			n++
		}
		if n != min(want, 3) {
			t.Errorf("%d got in, want %d", n, want)
		}
		for range n {
			g.leave()
		}
		g.well()
	}
	g.ill()
	if !enter(false) || enter(false) {
		t.Error("after a failure more than one got in")
	}
	g.leave()
	if !enter(true) || enter(false) || enter(true) {
		t.Error("who went alone was not alone")
	}
}

func TestGateUnderLoad(t *testing.T) {
	g := newGate(4, false)
	var inside, alone atomic.Int32
	var wait sync.WaitGroup
	for i := range 200 {
		wait.Go(func() {
			lonely := i%10 == 0
			if err := g.enter(t.Context(), lonely); err != nil {
				t.Error(err)
				return
			}
			if n := inside.Add(1); n > 4 || lonely && n > 1 || !lonely && alone.Load() > 0 {
				t.Errorf("%d are inside", n)
			}
			if lonely {
				alone.Add(1)
				alone.Add(-1)
			}
			inside.Add(-1)
			g.leave()
		})
	}
	wait.Wait()
	if g.within() != 0 {
		t.Errorf("%d stayed", g.within())
	}
}

// A loner who gives up must not keep the others out.
func TestGateForgetsWhoGivesUp(t *testing.T) {
	g := newGate(2, false)
	if err := g.enter(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error)
	go func() { gaveUp <- g.enter(ctx, true) }()
	entered := make(chan error)
	for { // until the loner waits
		g.mu.Lock()
		waits := g.loners == 1
		g.mu.Unlock()
		if waits {
			break
		}
	}
	go func() { entered <- g.enter(t.Context(), false) }()
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := <-entered; err != nil {
		t.Error(err)
	}
}

func TestConfirmer(t *testing.T) {
	var asked atomic.Int32
	answers, questions := make(chan string), make(chan struct{})
	c := newConfirmer(func(context.Context) (string, error) {
		asked.Add(1)
		questions <- struct{}{}
		if a := <-answers; a != "" {
			return a, nil
		}
		return "", errors.New("connection refused")
	})
	outcome := make(chan error, 10)
	confirm := func() { outcome <- c.revision(t.Context(), "nightly", "1") }
	go confirm()
	<-questions
	// These came while a question was out: they need the next one, all of them the same.
	for range 3 {
		go confirm()
	}
	for {
		c.mu.Lock()
		waiting := c.next != nil
		c.mu.Unlock()
		if waiting {
			break
		}
	}
	answers <- "1"
	if err := <-outcome; err != nil {
		t.Error(err)
	}
	<-questions
	answers <- "2"
	if err := <-outcome; !errors.Is(err, ErrRevision) || !strings.Contains(err.Error(), "2") {
		t.Errorf("another revision: %v", err)
	}
	for left := 2; left > 0; left-- { // those that joined, and those that came too late and asked again
		select {
		case err := <-outcome:
			if !errors.Is(err, ErrRevision) {
				t.Error(err)
			}
		case <-questions:
			answers <- "2"
			left++
		}
	}
	go confirm()
	<-questions
	answers <- ""
	if err := <-outcome; !errors.Is(err, ErrAway) {
		t.Errorf("no answer: %v", err)
	}
	if n := asked.Load(); n > 5 {
		t.Errorf("%d questions for 5 answers", n)
	}
	if err := newConfirmer(nil).revision(t.Context(), "nightly", "1"); err != nil {
		t.Error(err)
	}
}

func TestFailuresInARow(t *testing.T) {
	var f failures
	again := func(n int, kind string) (err error) {
		for range n {
			err = f.add(kind, errors.New(kind))
		}
		return err
	}
	if err := again(manyFailures-1, "a"); err != nil {
		t.Error(err)
	}
	if err := again(manyFailures-1, "b"); err != nil {
		t.Error(err)
	}
	if err := again(1, "b"); !errors.Is(err, ErrAllFail) {
		t.Errorf("%d of one kind: %v", manyFailures, err)
	}
	f.clear()
	if err := again(100, "b"); err != nil {
		t.Errorf("after a success: %v", err)
	}
}

func TestApply(t *testing.T) {
	var j Job
	j.fill()
	if j.Concurrency != 4 || j.Attempts != 3 || j.Params.ChunkSeconds != 540 || j.OnModelChange != FinishOld {
		t.Errorf("%+v", j)
	}
}
