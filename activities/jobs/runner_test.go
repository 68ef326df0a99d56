package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/jobs/jobstest"
	"github.com/understudy-dr/understudy/activities/jobs/s3store"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/speech"
	"github.com/understudy-dr/understudy/activities/speech/speechtest"
)

// scene is a job in a store, and a speech service that does as the test says.
type scene struct {
	t       *testing.T
	objects *faulty
	store   *jobs.Store
	service *service
	work    jobs.Work
	audio   jobs.Opener
	cutter  jobs.Cutter
}

func newScene(t *testing.T, items int, change ...func(*jobs.Job)) *scene {
	t.Helper()
	client, _ := jobstest.InMemory(t, "batches")
	s := &scene{t: t, service: &service{tries: map[string]int{}}, audio: newTones(t)}
	s.objects = &faulty{Objects: s3store.New(client, s3client.Location{Bucket: "batches", Key: "fun-asr"})}
	s.store = jobs.NewStore(s.objects)
	j := jobs.Job{ID: "nightly", Service: "fun-asr", Base: "/audio", Concurrency: 4}
	for _, c := range change {
		c(&j)
	}
	var text strings.Builder
	for i := range items {
		fmt.Fprintf(&text, `{"audio_filepath": "%d.wav", "duration": 2}`+"\n", i)
	}
	if _, err := s.store.Create(t.Context(), j, strings.NewReader(text.String())); err != nil {
		t.Fatal(err)
	}
	s.work = jobs.Work{Job: "nightly", Claim: jobs.Claim{Holder: "a", Epoch: 1}, URL: "http://active", Revision: "1", Patience: 100 * time.Millisecond}
	return s
}

// run runs the job with a runner of its own, as another process would.
func (s *scene) run(change ...func(*jobs.Work)) (jobs.Progress, error) {
	w := s.work
	for _, c := range change {
		c(&w)
	}
	r := jobs.Runner{Store: jobs.NewStore(s.objects), Audio: s.audio, Speech: s.service, Cutter: s.cutter, Backoff: time.Millisecond}
	return r.Run(s.t.Context(), w)
}

// finished finishes the job and returns its report and the lines of its output.
func (s *scene) finished() (jobs.Report, string) {
	s.t.Helper()
	r, err := s.store.Finish(s.t.Context(), "nightly", jobs.Claim{Holder: "a", Epoch: s.head().Epoch}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return r, s.file(jobs.OutputFile)
}

func (s *scene) file(name string) string {
	s.t.Helper()
	file, err := s.store.File(s.t.Context(), "nightly", name)
	if err != nil {
		s.t.Fatal(err)
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

func (s *scene) head() jobs.Head {
	s.t.Helper()
	_, h, err := s.store.Open(s.t.Context(), "nightly")
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

// wants runs the job to its end and compares its output with that of an undisturbed run.
func (s *scene) wantsAll(items int) jobs.Report {
	s.t.Helper()
	if p, err := s.run(); err != nil || !p.Done {
		s.t.Fatalf("%+v, %v", p, err)
	}
	r, output := s.finished()
	var want strings.Builder
	for i := range items {
		fmt.Fprintf(&want, `{"audio_filepath": "%d.wav", "duration": 2, "pred_text": "heard %d.wav"}`+"\n", i, i)
	}
	if output != want.String() || !r.Clean() || r.Succeeded != int64(items) {
		s.t.Errorf("%+v\n%s", r, output)
	}
	return r
}

// service hears the name of each audio.
type service struct {
	// hook, where given, may fail a request, or hold it up.
	hook func(ctx context.Context, name string, try int) error

	mu             sync.Mutex
	tries          map[string]int
	inside, widest int
	order          []string
}

func (s *service) Transcribe(ctx context.Context, r speech.TranscribeRequest) (speech.Transcript, error) {
	s.mu.Lock()
	name := r.Audio.Name
	s.tries[name]++
	try := s.tries[name]
	s.inside++
	s.widest = max(s.widest, s.inside)
	s.order = append(s.order, name)
	hook := s.hook
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.inside--
	}()
	if hook != nil {
		if err := hook(ctx, name, try); err != nil {
			return speech.Transcript{}, err
		}
	}
	return speech.Transcript{Text: "heard " + name, Segments: []speech.Segment{{End: 1, Text: "heard " + name}}}, nil
}

func (s *service) total() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, tries := range s.tries {
		n += tries
	}
	return n
}

// What services do to us.
var (
	errDied    = fmt.Errorf("%w: %w", speech.ErrGone, io.ErrUnexpectedEOF)
	errRefused = fmt.Errorf("%w: %w", speech.ErrItem, errors.New("HTTP 400: no such model"))
)

// errNobody is a connection that is refused.
func errNobody(t *testing.T) error {
	_, err := speech.NewClient().Transcribe(t.Context(), speech.TranscribeRequest{URL: "http://127.0.0.1:1"})
	if speech.BlameOf(err) != speech.TheService {
		t.Fatal(err)
	}
	return err
}

// tones is an opener to which every audio is the same tone.
type tones struct {
	file jobs.File
	hook func(ref string) error
}

func newTones(t *testing.T) *tones {
	path := filepath.Join(t.TempDir(), "tone.wav")
	if err := os.WriteFile(path, speechtest.Tone(), 0o644); err != nil {
		t.Fatal(err)
	}
	return &tones{file: jobs.File{Path: path, Size: int64(len(speechtest.Tone()))}}
}

func (o *tones) Open(_ context.Context, ref string) (jobs.File, error) {
	if o.hook != nil {
		if err := o.hook(ref); err != nil {
			return jobs.File{}, err
		}
	}
	return o.file, nil
}

// faulty is a store in front of which something may go wrong.
type faulty struct {
	jobs.Objects
	// dead refuses all from now on, as the machine of a runner that was killed does nothing any more.
	dead atomic.Bool
	// fail, where given, may fail a write before it is made.
	fail atomic.Pointer[func(key string) error]
}

var errDead = fmt.Errorf("%w: %w", jobs.ErrUnavailable, syscall.ECONNRESET)

func (f *faulty) Put(ctx context.Context, key string, body io.ReadSeeker, when jobs.Condition) (string, error) {
	if f.dead.Load() {
		return "", errDead
	}
	if fail := f.fail.Load(); fail != nil {
		if err := (*fail)(key); err != nil {
			return "", err
		}
	}
	return f.Objects.Put(ctx, key, body, when)
}

func (f *faulty) Delete(ctx context.Context, keys []string) error {
	if f.dead.Load() {
		return errDead
	}
	return f.Objects.Delete(ctx, keys)
}

func TestARunToTheEnd(t *testing.T) {
	const n = 300
	s := newScene(t, n)
	var last jobs.Progress
	told := 0
	p, err := s.run(func(w *jobs.Work) {
		w.Progress = func(p jobs.Progress) {
			told++
			if p.Next.Item < last.Next.Item || p.Succeeded < last.Succeeded || p.InFlight > 4 {
				t.Errorf("after %+v: %+v", last, p)
			}
			last = p
		}
	})
	if err != nil || !p.Done || p.Succeeded != n || p.AudioSeconds != 2*n || p.TotalSeconds != 2*n || p.RedoneSeconds != 0 || told < n || !last.Done {
		t.Fatalf("%+v, told %d times, the last %+v, %v", p, told, last, err)
	}
	if h := s.head(); h.State != jobs.Waiting || h.Window.Item != n || h.Succeeded != n {
		t.Errorf("the head is %+v", h)
	}
	if s.service.total() != n || s.service.widest > 4 {
		t.Errorf("%d requests, %d at once", s.service.total(), s.service.widest)
	}
	r := s.wantsAll(n) // another run has nothing to do
	if s.service.total() != n || r.RedoneSeconds != 0 || len(r.Revisions) != 1 || r.Revisions[0].Items != n {
		t.Errorf("%d requests, %+v", s.service.total(), r)
	}
}

func TestPagesAndStops(t *testing.T) {
	const n = 300
	s := newScene(t, n)
	for want := int64(128); want <= n; want += 128 {
		if p, err := s.run(func(w *jobs.Work) { w.Items = 128 }); err != nil || p.Done || p.Next.Item != want {
			t.Fatalf("%+v, %v", p, err)
		}
	}
	// Told to stop, it ends in good order: what is in flight is done, nothing is suspected.
	s = newScene(t, n)
	stop := make(chan struct{})
	var once sync.Once
	s.service.hook = func(_ context.Context, name string, _ int) error {
		once.Do(func() { close(stop) })
		return nil
	}
	p, err := s.run(func(w *jobs.Work) { w.Stop = stop })
	if h := s.head(); err != nil || h.State != jobs.Waiting || h.Window.Item != p.Next.Item || p.Next.Item == 0 || p.Next.Item > 40 {
		t.Errorf("%+v, %v, %+v", p, err, h)
	}
	if p, err := s.run(func(w *jobs.Work) { w.Stop = stop }); err != nil || s.service.total() != int(p.Next.Item) {
		t.Errorf("stopped before it began: %+v, %v", p, err)
	}
	r := s.wantsAll(n)
	if s.service.total() != n || r.RedoneSeconds != 0 {
		t.Errorf("%d requests, %v s redone", s.service.total(), r.RedoneSeconds)
	}
}

// One item that takes for ever does not let the others run away from it without end.
func TestWindowIsBounded(t *testing.T) {
	const n, longest = 4300, 4096
	s := newScene(t, n)
	release := make(chan struct{})
	s.service.hook = func(_ context.Context, name string, _ int) error {
		if name == "0.wav" {
			<-release
		}
		return nil
	}
	var once sync.Once
	p, err := s.run(func(w *jobs.Work) {
		w.Progress = func(p jobs.Progress) {
			if p.Succeeded == longest-1 {
				once.Do(func() {
					if h := s.head(); h.Window.Item != 0 || h.Window.End > longest {
						t.Errorf("the head is %+v", h)
					}
					close(release)
				})
			}
		}
	})
	if err != nil || !p.Done || p.Succeeded != n {
		t.Errorf("%+v, %v", p, err)
	}
}

// A runner that is killed leaves its job running; only what was in flight is done again.
func TestKilledRunner(t *testing.T) {
	const n, lanes = 150, 4
	for _, at := range []string{"0.wav", "63.wav", "64.wav", "149.wav"} {
		s := newScene(t, n)
		ctx, kill := context.WithCancel(t.Context())
		s.service.hook = func(_ context.Context, name string, _ int) error {
			if name == at {
				s.objects.dead.Store(true)
				kill()
			}
			return ctx.Err()
		}
		r := jobs.Runner{Store: s.store, Audio: s.audio, Speech: s.service, Backoff: time.Millisecond}
		if _, err := r.Run(ctx, s.work); err == nil {
			t.Fatal("it was not killed")
		}
		s.objects.dead.Store(false)
		s.service.hook = nil
		if h := s.head(); h.State != jobs.Running {
			t.Errorf("killed at %s: the head is %+v", at, h)
		}
		job, head, err := s.store.Open(t.Context(), s.work.Job)
		if err != nil {
			t.Fatal(err)
		}
		items, atMost, err := s.store.InFlight(t.Context(), job, head)
		if err != nil || items > lanes || atMost != float64(2*items) {
			t.Errorf("killed at %s: %d items, %v s were in flight, %v", at, items, atMost, err)
		}
		// Somebody else of the same epoch has to wait, a newer epoch need not.
		if _, err := s.run(func(w *jobs.Work) { w.Claim.Holder = "b" }); !errors.Is(err, jobs.ErrHeld) {
			t.Errorf("killed at %s: %v", at, err)
		}
		s.work.Claim = jobs.Claim{Holder: "b", Epoch: 2}
		report := s.wantsAll(n)
		redone := float64(2 * (s.service.total() - n))
		if redone > 2*lanes || report.RedoneSeconds < redone || report.RedoneSeconds > atMost {
			t.Errorf("killed at %s: %v s were redone, the report says %v", at, redone, report.RedoneSeconds)
		}
	}
}

// Two runners: the one whose epoch is older stops, says so, and changes nothing.
func TestOlderRunnerStops(t *testing.T) {
	const n = 200
	s := newScene(t, n)
	entered, release := make(chan struct{}), make(chan struct{})
	var held atomic.Int32
	s.service.hook = func(_ context.Context, name string, try int) error {
		if try == 1 && held.Add(1) <= 4 {
			entered <- struct{}{}
			<-release
		}
		return nil
	}
	old := make(chan error)
	go func() {
		_, err := s.run()
		old <- err
	}()
	for range 4 {
		<-entered
	}
	s.work.Claim = jobs.Claim{Holder: "b", Epoch: 2}
	if p, err := s.run(); err != nil || !p.Done {
		t.Fatalf("%+v, %v", p, err)
	}
	close(release)
	if err := <-old; !errors.Is(err, jobs.ErrHeld) || !strings.Contains(err.Error(), "run by b at epoch 2") {
		t.Errorf("the old one: %v", err)
	}
	if r := s.wantsAll(n); r.Epoch != 2 {
		t.Errorf("%+v", r)
	}
}

// An item that kills the server is found out, and nobody else pays for it.
func TestKillerIsQuarantined(t *testing.T) {
	const n = 40
	s := newScene(t, n)
	var dead sync.RWMutex
	generation := make(chan struct{}) // closed when the server dies
	s.service.hook = func(_ context.Context, name string, _ int) error {
		dead.RLock()
		died := generation
		dead.RUnlock()
		if name == "17.wav" {
			dead.Lock()
			close(generation)
			generation = make(chan struct{})
			dead.Unlock()
			return errDied
		}
		select {
		case <-died: // it was in flight when the server died
			return errDied
		case <-time.After(time.Millisecond):
			return nil
		}
	}
	p, err := s.run()
	if err != nil || !p.Done || p.Succeeded != n-1 || p.Quarantined != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	if got := s.service.tries["17.wav"]; got != 3 {
		t.Errorf("it was tried %d times", got)
	}
	for name, tries := range s.service.tries {
		if tries > 2 && name != "17.wav" {
			t.Errorf("%s was tried %d times", name, tries)
		}
	}
	r, output := s.finished()
	if strings.Contains(output, `"17.wav"`) || !strings.Contains(output, `"18.wav"`) || r.Quarantined != 1 {
		t.Errorf("%+v\n%s", r, output)
	}
	if got := s.file(jobs.QuarantinedFile); !strings.Contains(got, `"17.wav"`) || !strings.Contains(got, "tried 3 times") || !strings.Contains(got, "went away") {
		t.Errorf("quarantined: %s", got)
	}
}

// The same where the runner dies with the server, each time, at an epoch of its own.
func TestKillerOfRunners(t *testing.T) {
	const n = 40
	s := newScene(t, n)
	var kill context.CancelFunc
	s.service.hook = func(ctx context.Context, name string, _ int) error {
		if name == "5.wav" {
			s.objects.dead.Store(true)
			kill()
			<-ctx.Done()
		}
		return ctx.Err()
	}
	deaths := 0
	for epoch := int64(1); ; epoch++ {
		ctx, cancel := context.WithCancel(t.Context())
		kill = cancel
		w := s.work
		w.Claim = jobs.Claim{Holder: fmt.Sprint("machine-", epoch), Epoch: epoch}
		r := jobs.Runner{Store: jobs.NewStore(s.objects), Audio: s.audio, Speech: s.service, Backoff: time.Millisecond}
		p, err := r.Run(ctx, w)
		cancel()
		s.objects.dead.Store(false)
		if err == nil && p.Done {
			break
		}
		if deaths++; deaths > 5 {
			t.Fatalf("it took machine after machine with it: %v", err)
		}
	}
	if deaths != 3 || s.service.tries["5.wav"] != 3 {
		t.Errorf("%d machines died in %d tries", deaths, s.service.tries["5.wav"])
	}
	r, output := s.finished()
	if r.Quarantined != 1 || r.Succeeded != n-1 || strings.Contains(output, `"5.wav"`) {
		t.Errorf("%+v\n%s", r, output)
	}
	if lost := float64(2 * (s.service.total() - (n - 1))); r.RedoneSeconds < lost || r.RedoneSeconds > lost+2*2*4 {
		t.Errorf("%v s were sent in vain, the report says %v", lost, r.RedoneSeconds)
	}
	for name, tries := range s.service.tries {
		if name != "5.wav" && tries > 2 {
			t.Errorf("%s was tried %d times", name, tries)
		}
	}
}

// An item over which the service hangs is broken off, each time, by those who
// recover the service; after three tiers it is enough.
func TestHangingItem(t *testing.T) {
	const n = 40
	s := newScene(t, n)
	var recovery context.CancelFunc
	s.service.hook = func(ctx context.Context, name string, _ int) error {
		if name == "11.wav" {
			recovery()
			<-ctx.Done()
			return fmt.Errorf("%w: we broke off: %w", speech.ErrServer, ctx.Err())
		}
		return nil
	}
	recoveries := 0
	for epoch := int64(1); ; epoch++ {
		ctx, cancel := context.WithCancel(t.Context())
		recovery = cancel
		w := s.work
		w.Claim.Epoch = epoch
		r := jobs.Runner{Store: s.store, Audio: s.audio, Speech: s.service, Backoff: time.Millisecond}
		p, err := r.Run(ctx, w)
		cancel()
		if err == nil && p.Done {
			break
		}
		if h := s.head(); !errors.Is(err, context.Canceled) || h.State != jobs.Waiting {
			t.Fatalf("%v, %+v", err, h)
		}
		if recoveries++; recoveries > 3 {
			t.Fatal("it hung tier after tier")
		}
	}
	r, _ := s.finished()
	if recoveries != 3 || r.Quarantined != 1 || r.Succeeded != n-1 || !strings.Contains(s.file(jobs.QuarantinedFile), "broken off") {
		t.Errorf("%d recoveries, %+v\n%s", recoveries, r, s.file(jobs.QuarantinedFile))
	}
	for name, tries := range s.service.tries {
		if name != "11.wav" && tries > 2 {
			t.Errorf("%s was tried %d times", name, tries)
		}
	}
}

func TestServiceAway(t *testing.T) {
	const n = 100
	s := newScene(t, n)
	nobody := errNobody(t)
	var away atomic.Bool
	var refused atomic.Int32
	s.service.hook = func(_ context.Context, name string, try int) error {
		if name == "50.wav" && try == 1 {
			away.Store(true)
		}
		if away.Load() {
			if refused.Add(1) == 20 {
				away.Store(false) // it is back, before the patience is over
			}
			return nobody
		}
		return nil
	}
	p, err := s.run(func(w *jobs.Work) { w.Patience = time.Minute })
	if err != nil || !p.Done || p.Succeeded != n || p.RedoneSeconds != 0 {
		t.Fatalf("%+v, %v", p, err)
	}
	// For longer than that: nothing is failed, nobody is blamed.
	s = newScene(t, n)
	s.service.hook = func(_ context.Context, name string, _ int) error {
		if name == "50.wav" {
			away.Store(true)
		}
		if away.Load() {
			return nobody
		}
		return nil
	}
	p, err = s.run()
	if !errors.Is(err, jobs.ErrAway) || !strings.Contains(err.Error(), "refused") || p.Failed+p.Quarantined != 0 || p.Done || p.Succeeded < 40 {
		t.Fatalf("%+v, %v", p, err)
	}
	if h := s.head(); h.State != jobs.Waiting || !strings.Contains(h.Reason, "away") {
		t.Errorf("the head is %+v", h)
	}
	away.Store(false)
	s.service.hook = nil
	if r := s.wantsAll(n); r.RedoneSeconds != 0 {
		t.Errorf("%v s redone", r.RedoneSeconds)
	}
}

// A suspect that could not even be sent keeps its good name.
func TestAttemptThatWasNeverMade(t *testing.T) {
	s := newScene(t, 1)
	nobody := errNobody(t)
	s.service.hook = func(_ context.Context, _ string, try int) error {
		if try == 1 {
			return errDied
		}
		return nobody
	}
	for range 5 {
		if _, err := s.run(); !errors.Is(err, jobs.ErrAway) {
			t.Fatal(err)
		}
	}
	h := s.head()
	known, err := s.store.Outcomes(t.Context(), jobOf(t, s), h, 0, 1)
	if err != nil || known[0].Attempts != 1 {
		t.Errorf("%+v, %v", known[0], err)
	}
	s.service.hook = nil
	s.wantsAll(1)
}

func jobOf(t *testing.T, s *scene) jobs.Job {
	t.Helper()
	j, _, err := s.store.Open(t.Context(), "nightly")
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestSlowStart(t *testing.T) {
	const n = 60
	s := newScene(t, n, func(j *jobs.Job) { j.Concurrency = 8 })
	var widest []int
	var mu sync.Mutex
	arrived := make(chan struct{}, n)
	s.service.hook = func(context.Context, string, int) error {
		mu.Lock()
		widest = append(widest, s.service.widest)
		mu.Unlock()
		arrived <- struct{}{}
		return nil
	}
	if p, err := s.run(func(w *jobs.Work) { w.SlowStart = true }); err != nil || !p.Done {
		t.Fatalf("%+v, %v", p, err)
	}
	for i, wide := range widest[:8] {
		if wide > i+1 {
			t.Errorf("request %d had %d beside it", i, wide-1)
		}
	}
}
