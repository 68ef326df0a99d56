// Package jobstest is the conformance suite of batch stores. Every implementation
// of jobs.Objects passes it against the real component.
package jobstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/jobs"
)

const (
	// short is how long a store may hang in these tests, long is enough for one to answer on a busy machine.
	short = 300 * time.Millisecond
	long  = time.Minute

	writers = 16
	base    = "s3://audio/calls"
)

// Fixture is an empty place on a real component.
type Fixture struct {
	// Open returns objects at the same place, as another machine would have them.
	Open func() jobs.Objects
	// Stop makes the component hang; Continue ends that. Kill ends it without a warning; Restart brings it back with
	// what it had made durable. Where they are nil, the tests that need them are left out.
	Stop, Continue, Kill, Restart func()
	// Slow components get fewer objects in the tests that need many.
	Slow bool
	// Nowhere returns objects at a place that is not there, such as a bucket that nobody made.
	Nowhere func() jobs.Objects
}

// Run runs the suite. newFixture returns an empty place; places may share a component.
func Run(t *testing.T, newFixture func(t *testing.T) Fixture) {
	tests := map[string]func(*testing.T, Fixture){
		"objects":                             objects,
		"listing":                             listing,
		"conditions":                          conditions,
		"many writers, one absent object":     oneAbsent,
		"many writers, one tag":               oneTag,
		"creation":                            creation,
		"manifests that are not usable":       badManifests,
		"pages of a manifest":                 pages,
		"torn jobs and heads":                 tornHeads,
		"claims":                              claims,
		"many claims":                         manyClaims,
		"each write path checks the epoch":    oldEpoch,
		"an old runner wakes":                 oldWakes,
		"a result is written once":            oneResult,
		"results that are none":               tornResults,
		"outcomes by their keys":              outcomes,
		"finishing":                           finishing,
		"finishing with a missing outcome":    missingOutcome,
		"failed items again":                  retryFailed,
		"cancelling":                          cancelling,
		"deleting":                            deleting,
		"a list of jobs":                      listOfJobs,
		"a store that ignores conditions":     ignoring,
		"a store that begins to ignore them":  beginsToIgnore,
		"answers that are lost":               lostAnswers,
		"the end of the context":              endedContext,
		"an unfinished creation and deletion": unfinished,
	}
	able := newFixture(t)
	if able.Stop != nil {
		tests["a store that hangs"] = hanging
	}
	if able.Kill != nil {
		tests["a store that dies"] = dying
	}
	if able.Nowhere != nil {
		tests["a place that is not there"] = nowhere
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, newFixture(t)) })
	}
}

// few is the number for a component on which many objects take long.
func (f Fixture) few(many, few int) int {
	if f.Slow {
		return few
	}
	return many
}

// job is the description of a job.
func job(id string) jobs.Job {
	return jobs.Job{ID: id, Service: "fun-asr", Base: base, CreatedBy: "ann"}
}

// manifest is one of n items; the i-th lasts i+1 seconds.
func manifest(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, `{"audio_filepath": "%d.wav", "duration": %d, "speaker": "语音-%d"}`+"\n", i, i+1, i)
	}
	return text.String()
}

// create makes a job of n items.
func create(t *testing.T, f Fixture, id string, n int) (*jobs.Store, jobs.Job) {
	t.Helper()
	store := jobs.NewStore(f.Open())
	j, err := store.Create(ctx(t), job(id), strings.NewReader(manifest(n)))
	if err != nil {
		t.Fatal(err)
	}
	return store, j
}

// take takes a job at an epoch, and begins it with a model revision.
func take(t *testing.T, f Fixture, id string, epoch int64, holder string) *jobs.Lease {
	t.Helper()
	l, err := jobs.NewStore(f.Open()).Take(ctx(t), id, jobs.Claim{Holder: holder, Epoch: epoch, Lanes: 4})
	if err != nil {
		t.Fatal(err)
	}
	v := l.Job().Variant("2512.1")
	if err := l.Advance(ctx(t), func(h *jobs.Head) { h.Variants = []jobs.Variant{v} }); err != nil {
		t.Fatal(err)
	}
	return l
}

// items reads all items of a job.
func items(t *testing.T, s *jobs.Store, j jobs.Job) []jobs.Item {
	t.Helper()
	all, err := s.Items(j, jobs.Position{}).Next(ctx(t), int(j.Manifest.Items))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// result is a sound result of an item.
func result(l *jobs.Lease, item jobs.Item, text string) jobs.Result {
	h := l.Head()
	return jobs.Result{
		ID: "x", CustomID: fmt.Sprintf("%09d", item.Index), Job: l.Job().ID, Item: item.Index, AudioPath: item.AudioPath, Seconds: item.Seconds,
		Revision: h.Current().Revision, Epoch: h.Epoch, Session: h.Session, Holder: h.Holder, At: time.Now().UTC().Truncate(time.Millisecond),
		Response: &jobs.Response{Status: 200, Body: jobs.Body{Task: "transcribe", Text: &text}},
	}
}

func failure(l *jobs.Lease, item jobs.Item, code string) jobs.Result {
	r := result(l, item, "")
	r.Response, r.Error = nil, &jobs.Failure{Code: code, Message: "because"}
	return r
}

// done puts results for the items from one to another (not included), and moves the window behind them.
func done(t *testing.T, l *jobs.Lease, all []jobs.Item, from, to int) {
	t.Helper()
	for _, item := range all[from:to] {
		if err := l.PutResult(ctx(t), l.Head().Current(), item, result(l, item, fmt.Sprint("text ", item.Index))); err != nil {
			t.Fatal(err)
		}
	}
	moveTo(t, l, all[to-1])
}

func moveTo(t *testing.T, l *jobs.Lease, last jobs.Item) {
	t.Helper()
	err := l.Advance(ctx(t), func(h *jobs.Head) { h.Window = jobs.Window{Position: last.After, End: last.After.Item} })
	if err != nil {
		t.Fatal(err)
	}
}

func ctx(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), long)
	t.Cleanup(cancel)
	return ctx
}

func put(t *testing.T, o jobs.Objects, key, content string) string {
	t.Helper()
	tag, err := o.Put(ctx(t), key, strings.NewReader(content), jobs.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	return tag
}

func get(t *testing.T, o jobs.Objects, key string) string {
	t.Helper()
	object, err := o.Get(ctx(t), key, jobs.Span{})
	if err != nil {
		t.Fatal(err)
	}
	defer object.Body.Close()
	content, err := io.ReadAll(object.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func wants(t *testing.T, name string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", name, got, want)
	}
}

// race lets all writers write at once, and returns how many succeeded; the others must lose with one of the errors.
func race(t *testing.T, write func(i int) error, losers ...error) int {
	t.Helper()
	var wait sync.WaitGroup
	errs := make([]error, writers)
	for i := range writers {
		wait.Go(func() { errs[i] = write(i) })
	}
	wait.Wait()
	won := 0
next:
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		for _, loser := range losers {
			if errors.Is(err, loser) {
				continue next
			}
		}
		t.Errorf("a loser got %v", err)
	}
	return won
}
