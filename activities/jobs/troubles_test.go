package jobs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/jobs/jobstest"
	"github.com/understudy-dr/understudy/activities/jobs/s3store"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/speech"
)

func TestAnotherModelRevision(t *testing.T) {
	const n = 100
	half := func(t *testing.T, policy string) *scene {
		s := newScene(t, n, func(j *jobs.Job) { j.OnModelChange = policy })
		if p, err := s.run(func(w *jobs.Work) { w.Items = 64 }); err != nil || p.Next.Item != 64 {
			t.Fatalf("%+v, %v", p, err)
		}
		s.work.Claim.Epoch = 2
		return s
	}
	t.Run("finish-old", func(t *testing.T) {
		s := half(t, jobs.FinishOld)
		before := s.service.total()
		_, err := s.run(func(w *jobs.Work) { w.Revision = "2" })
		var other *jobs.RevisionError
		if !errors.As(err, &other) || !errors.Is(err, jobs.ErrRevision) || other.Began != "1" || other.Active != "2" || s.service.total() != before {
			t.Errorf("%v after %d requests", err, s.service.total()-before)
		}
		if h := s.head(); h.State != jobs.Waiting || !strings.Contains(h.Reason, "on_model_change") || h.Window.Item != 64 {
			t.Errorf("the head is %+v", h)
		}
		s.wantsAll(n)
	})
	t.Run("restart", func(t *testing.T) {
		s := half(t, jobs.Restart)
		s.work.Revision = "2"
		r := s.wantsAll(n)
		if s.service.total() != n+64 || r.RedoneSeconds != 128 || len(r.Revisions) != 1 || r.Revisions[0].Revision != "2" {
			t.Errorf("%d requests, %+v", s.service.total(), r)
		}
	})
	t.Run("restart, and back", func(t *testing.T) {
		s := half(t, jobs.Restart)
		if p, err := s.run(func(w *jobs.Work) { w.Revision, w.Items = "2", 64 }); err != nil || p.Next.Item != 64 {
			t.Fatalf("%+v, %v", p, err)
		}
		r := s.wantsAll(n) // what the first one did is still there
		if s.service.total() != n+64 || len(r.Revisions) != 1 || r.Revisions[0].Revision != "1" {
			t.Errorf("%d requests, %+v", s.service.total(), r)
		}
	})
	t.Run("mix-and-mark", func(t *testing.T) {
		s := half(t, jobs.MixAndMark)
		s.work.Revision = "2"
		if p, err := s.run(); err != nil || !p.Done {
			t.Fatalf("%+v, %v", p, err)
		}
		r, output := s.finished()
		if want := []jobs.RevisionCount{{Revision: "1", Items: 64}, {Revision: "2", Items: 36}}; !reflect.DeepEqual(r.Revisions, want) || s.service.total() != n || !r.Clean() {
			t.Errorf("%d requests, %+v", s.service.total(), r)
		}
		for i, line := range strings.Split(strings.TrimSpace(output), "\n") {
			if mark := fmt.Sprintf(`"model_revision": "%d"}`, 1+i/64); !strings.HasSuffix(line, mark) {
				t.Errorf("line %d is %s, want %s", i, line, mark)
			}
		}
	})
	t.Run("nothing was done yet", func(t *testing.T) {
		s := newScene(t, n)
		s.service.hook = func(context.Context, string, int) error { return errNobody(t) }
		if _, err := s.run(); !errors.Is(err, jobs.ErrAway) {
			t.Fatal(err)
		}
		s.service.hook = nil
		if _, err := s.run(); err != nil {
			t.Fatal(err)
		}
	})
}

// The front door leads to another model in the middle of the work.
func TestModelChangesBehindTheFrontDoor(t *testing.T) {
	const n = 100
	s := newScene(t, n, func(j *jobs.Job) { j.OnModelChange, j.Concurrency = jobs.MixAndMark, 1 })
	var revision atomic.Value
	revision.Store("1")
	var asked atomic.Int32
	s.service.hook = func(_ context.Context, name string, _ int) error {
		if name == "30.wav" {
			revision.Store("2")
		}
		return nil
	}
	confirm := func(w *jobs.Work) {
		w.Confirm = func(context.Context) (string, error) {
			if asked.Add(1)%10 == 0 {
				return "", errors.New("it restarts") // and is asked again
			}
			return revision.Load().(string), nil
		}
	}
	_, err := s.run(confirm)
	if !errors.Is(err, jobs.ErrRevision) {
		t.Fatalf("%v", err)
	}
	s.work.Revision = "2"
	if p, err := s.run(confirm); err != nil || !p.Done {
		t.Fatalf("%+v, %v", p, err)
	}
	r, output := s.finished()
	if !r.Clean() || len(r.Revisions) != 2 || r.RedoneSeconds == 0 {
		t.Errorf("%+v", r)
	}
	for i, line := range strings.Split(strings.TrimSpace(output), "\n") {
		if mark := fmt.Sprintf(`"model_revision": "%d"}`, 1+min(1, i/30)); !strings.HasSuffix(line, mark) {
			t.Errorf("line %d is %s, want %s", i, line, mark)
		}
	}
}

// Each kind of bad item has its own clear end, and the rest goes on.
func TestBadItems(t *testing.T) {
	dir := t.TempDir()
	audio := newTones(t)
	write := func(name string, content string) jobs.File {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return jobs.File{Path: path, Size: int64(len(content))}
	}
	files := map[string]jobs.File{"1.wav": write("1", ""), "2.wav": write("2", "<html>404</html>"), "3.wav": write("3", "RIFF\x24\x00\x00\x00WAVE"), "4.wav": {Path: dir + "/absent"}, "7.wav": write("7", "not really audio\x00")}
	s := newScene(t, 20)
	s.audio = openerFunc(func(ctx context.Context, ref string) (jobs.File, error) {
		if file, bad := files[filepath.Base(ref)]; bad {
			return file, nil
		}
		if ref == "/audio/5.wav" {
			return jobs.File{}, fmt.Errorf("%w: %s: no such file", jobs.ErrNoAudio, ref)
		}
		return audio.Open(ctx, ref)
	})
	s.cutter = &cutter{undecodable: files["7.wav"].Path}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no codec", http.StatusUnsupportedMediaType)
	}))
	defer server.Close()
	_, refusal := speech.NewClient().Transcribe(t.Context(), speech.TranscribeRequest{URL: server.URL})
	s.service.hook = func(_ context.Context, name string, try int) error {
		switch name {
		case "6.wav":
			return refusal
		case "7.wav":
			return fmt.Errorf("%w: HTTP 500", speech.ErrServer) // over what nobody can decode
		case "8.wav":
			if try == 1 {
				return fmt.Errorf("%w: its answer is no transcript", speech.ErrServer)
			}
			if h := s.head(); h.RedoneSeconds < 2 {
				t.Errorf("the head does not say what the first try has cost: %+v", h)
			}
		}
		return nil
	}
	if p, err := s.run(); err != nil || !p.Done || p.Failed != 7 || p.Quarantined != 0 || p.Succeeded != 13 {
		t.Fatalf("%+v, %v", p, err)
	}
	s.finished()
	lines := strings.Split(strings.TrimSpace(s.file(jobs.FailedFile)), "\n")
	for i, want := range []string{"it is empty", "it is text: <html>404", "holds no data", "no such file", "no such file", "no codec", "not decodable"} {
		code := jobs.CodeAudio
		if i == 5 {
			code = jobs.CodeRefused
		}
		if !strings.Contains(lines[i], fmt.Sprintf(`"%d.wav"`, i+1)) || !strings.Contains(lines[i], want) || !strings.Contains(lines[i], fmt.Sprintf(`"error_code": %q`, code)) {
			t.Errorf("line %d is %s, want %s, %s", i, lines[i], code, want)
		}
	}
	if s.service.tries["7.wav"] != 1 || s.service.tries["8.wav"] != 2 {
		t.Errorf("tries %v", s.service.tries)
	}
}

type openerFunc func(ctx context.Context, ref string) (jobs.File, error)

func (f openerFunc) Open(ctx context.Context, ref string) (jobs.File, error) { return f(ctx, ref) }

// cutter cuts audio into pieces of 10 seconds, by name alone.
type cutter struct {
	seconds     float64
	cut         atomic.Int32
	undecodable string
	meanwhile   func() // what happens while it cuts for the first time
}

func (c *cutter) Cut(_ context.Context, path string, limit time.Duration, spans []speech.Span) (speech.Pieces, error) {
	if c.cut.Add(1) == 1 && c.meanwhile != nil {
		c.meanwhile()
	}
	if spans == nil {
		for at := 0.0; at < c.seconds; at += limit.Seconds() {
			spans = append(spans, speech.Span{Start: at, End: min(at+limit.Seconds(), c.seconds)})
		}
	}
	return speech.Pieces{Spans: spans, Close: func() error { return nil }, Audio: func(i int) speech.Audio {
		return speech.Audio{Size: 1, Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte{byte(i)})), nil }}
	}}, nil
}

func (c *cutter) Check(_ context.Context, path string) error {
	if path == c.undecodable {
		return fmt.Errorf("%w: not decodable", speech.ErrItem)
	}
	return nil
}

func TestLongAudio(t *testing.T) {
	s := newScene(t, 3, func(j *jobs.Job) { j.Params.ChunkSeconds = 1; j.Concurrency = 1 })
	cut := &cutter{seconds: 5}
	s.cutter = cut
	ctx, kill := context.WithCancel(t.Context())
	s.service.hook = func(_ context.Context, name string, _ int) error {
		if name == "1-0003.wav" {
			s.objects.dead.Store(true)
			kill()
		}
		return ctx.Err()
	}
	r := jobs.Runner{Store: s.store, Audio: s.audio, Speech: s.service, Cutter: cut, Backoff: time.Millisecond}
	if _, err := r.Run(ctx, s.work); err == nil {
		t.Fatal("it was not killed")
	}
	s.objects.dead.Store(false)
	s.service.hook = nil
	cut.seconds = 7 // other tools would cut elsewhere; what was decided stays
	if p, err := s.run(); err != nil || !p.Done {
		t.Fatalf("%+v, %v", p, err)
	}
	report, output := s.finished()
	lines := strings.Split(strings.TrimSpace(output), "\n")
	want := `"pred_text": "heard 1-0000.wav heard 1-0001.wav heard 1-0002.wav heard 1-0003.wav heard 1-0004.wav"}`
	if len(lines) != 3 || !strings.HasSuffix(lines[1], want) {
		t.Errorf("output %s, want %s", output, want)
	}
	if s.service.tries["1-0002.wav"] != 1 || s.service.tries["1-0003.wav"] != 2 || report.RedoneSeconds != 1 {
		t.Errorf("tries %v, %v s redone", s.service.tries, report.RedoneSeconds)
	}
	j := jobOf(t, s)
	items, err := s.store.Items(j, jobs.Position{}).Next(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	result, err := s.store.Result(t.Context(), j, j.Variant("1"), items[1])
	if err != nil || result.Parts != 5 || len(result.Response.Body.Segments) != 5 || result.Response.Body.Segments[4].Start != 4 {
		t.Errorf("%+v, %v", result, err)
	}
}

// Two runners cut at the same time: the first one decides.
func TestCutsOfAnother(t *testing.T) {
	s := newScene(t, 1, func(j *jobs.Job) { j.Params.ChunkSeconds = 1 })
	cut := &cutter{seconds: 5}
	cut.meanwhile = func() {
		key := fmt.Sprintf("nightly/parts/%s/000000/000000000/cuts.json", jobOf(t, s).Variant("1").ID)
		theirs := `{"item":0,"spans":[{"start":0,"end":2},{"start":1.5,"end":5}]}`
		if _, err := s.objects.Put(t.Context(), key, strings.NewReader(theirs), jobs.Condition{}); err != nil {
			t.Error(err)
		}
	}
	s.cutter = cut
	if p, err := s.run(); err != nil || !p.Done || s.service.total() != 2 || cut.cut.Load() != 2 {
		t.Fatalf("%+v, %v: %d requests, cut %d times", p, err, s.service.total(), cut.cut.Load())
	}
	if _, output := s.finished(); !strings.Contains(output, `"pred_text": "heard 0-0000.wav heard 0-0001.wav"`) {
		t.Error(output)
	}
}

func TestEveryItemIsRefused(t *testing.T) {
	const n = 100
	s := newScene(t, n)
	s.service.hook = func(context.Context, string, int) error { return errRefused }
	p, err := s.run()
	if !errors.Is(err, jobs.ErrAllFail) || !strings.Contains(err.Error(), "no such model") || p.Failed > 30 {
		t.Fatalf("%+v, %v", p, err)
	}
	// With what was wrong put right, the failed ones are tried again.
	s.service.hook = nil
	if again, err := s.store.RetryFailed(t.Context(), "nightly", jobs.Claim{Holder: "a"}); err != nil || again != p.Failed {
		t.Fatalf("%d of %d, %v", again, p.Failed, err)
	}
	s.wantsAll(n)
	// Somebody may insist that it is the items.
	s = newScene(t, n)
	s.service.hook = func(context.Context, string, int) error { return errRefused }
	if p, err := s.run(func(w *jobs.Work) { w.KeepGoing = true }); err != nil || p.Failed != n || !p.Done {
		t.Errorf("%+v, %v", p, err)
	}
	// A folder that is not mounted.
	s = newScene(t, n)
	s.audio = openerFunc(func(_ context.Context, ref string) (jobs.File, error) {
		return jobs.File{}, fmt.Errorf("%w: %s: no such file", jobs.ErrNoAudio, ref)
	})
	if p, err := s.run(); !errors.Is(err, jobs.ErrAllFail) || p.Failed > 30 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestStoreInTrouble(t *testing.T) {
	const n = 150
	s := newScene(t, n)
	var writes atomic.Int32
	flapping := func(key string) error {
		if writes.Add(1)%3 == 0 {
			return fmt.Errorf("%w: SlowDown", jobs.ErrUnavailable)
		}
		return nil
	}
	s.objects.fail.Store(&flapping)
	if p, err := s.run(func(w *jobs.Work) { w.Patience = time.Minute }); err != nil || !p.Done {
		t.Fatalf("%+v, %v", p, err)
	}
	s.objects.fail.Store(nil)
	if s.wantsAll(n); s.service.total() != n {
		t.Errorf("%d requests", s.service.total())
	}
	// It goes away for good in the middle, and comes back later.
	s = newScene(t, n)
	s.service.hook = func(_ context.Context, name string, _ int) error {
		if name == "70.wav" {
			s.objects.dead.Store(true)
		}
		return nil
	}
	p, err := s.run()
	if !errors.Is(err, jobs.ErrUnavailable) || p.Failed+p.Quarantined != 0 {
		t.Fatalf("%+v, %v", p, err)
	}
	s.objects.dead.Store(false)
	s.service.hook = nil
	s.wantsAll(n)
	if total := s.service.total(); total > n+4 {
		t.Errorf("%d requests for %d items", total, n)
	}
	// It ignores conditions from some moment on.
	s = newScene(t, n)
	if _, err := s.run(func(w *jobs.Work) { w.Items = 64 }); err != nil {
		t.Fatal(err)
	}
	r := jobs.Runner{Store: jobs.NewStore(careless{s.objects}), Audio: s.audio, Speech: s.service}
	before := s.service.total()
	if _, err := r.Run(t.Context(), s.work); !errors.Is(err, jobs.ErrUnsupported) || s.service.total() != before {
		t.Errorf("%v", err)
	}
	s.wantsAll(n)
}

// careless is a store that ignores conditions.
type careless struct{ jobs.Objects }

func (c careless) Put(ctx context.Context, key string, body io.ReadSeeker, _ jobs.Condition) (string, error) {
	return c.Objects.Put(ctx, key, body, jobs.Condition{})
}

// A store that is away for a moment while the manifest is read loses no item.
func TestManifestReadInPieces(t *testing.T) {
	const n = 30
	client, _ := jobstest.InMemory(t, "batches")
	place := s3client.Location{Bucket: "batches", Key: "fun-asr"}
	store := jobs.NewStore(&stuttering{Objects: s3store.New(client, place)})
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, `{"audio_filepath": "%d.wav", "duration": 2, "notes": %q}`+"\n", i, strings.Repeat("x", 200<<10))
	}
	j, err := store.Create(t.Context(), jobs.Job{ID: "nightly", Base: "/audio"}, strings.NewReader(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []jobs.Position{{}, {Item: 20}} {
		items := store.Items(j, from)
		for at := from.Item; at < n; {
			page, err := items.Next(t.Context(), 64)
			if errors.Is(err, jobs.ErrUnavailable) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, item := range page {
				if item.Index != at || item.AudioPath != fmt.Sprintf("%d.wav", at) {
					t.Fatalf("item %d is %d, %s", at, item.Index, item.AudioPath)
				}
				at++
			}
		}
	}
}

// stuttering fails every other read.
type stuttering struct {
	jobs.Objects
	reads atomic.Int32
}

func (s *stuttering) Get(ctx context.Context, key string, span jobs.Span) (jobs.Object, error) {
	if s.reads.Add(1)%2 == 0 && span != (jobs.Span{}) {
		return jobs.Object{}, errDead
	}
	return s.Objects.Get(ctx, key, span)
}

func TestTornAndForeignResults(t *testing.T) {
	const n = 100
	s := newScene(t, n)
	if _, err := s.run(func(w *jobs.Work) { w.Items = 64 }); err != nil {
		t.Fatal(err)
	}
	h := s.head()
	key := func(item int) string {
		return fmt.Sprintf("nightly/results/%s/%06d/%09d.json", h.Current().ID, 0, item)
	}
	plant := func(item int, content string) {
		if _, err := s.objects.Put(t.Context(), key(item), strings.NewReader(content), jobs.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	plant(3, "")    // in what is done: found at the end
	plant(70, "{")  // in what is to come: found when its result is written
	plant(80, "{}") // the same
	sound, err := s.objects.Get(t.Context(), key(5), jobs.Span{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := io.ReadAll(sound.Body)
	sound.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	plant(90, string(other)) // of another item
	if p, err := s.run(); err != nil || !p.Done || p.Failed != 3 {
		t.Fatalf("%+v, %v", p, err)
	}
	r, output := s.finished()
	if r.Failed != 4 || r.Succeeded != n-4 || len(r.Torn) != 4 || strings.Count(output, "\n") != n-4 {
		t.Errorf("%+v", r)
	}
	if failed := s.file(jobs.FailedFile); strings.Count(failed, `"error_code": "torn"`) != 4 || !strings.Contains(failed, key(90)) {
		t.Errorf("failed: %s", failed)
	}
	if again, err := s.store.RetryFailed(t.Context(), "nightly", jobs.Claim{Holder: "ann"}); err != nil || again != 4 {
		t.Fatalf("%d, %v", again, err)
	}
	s.wantsAll(n)
}

// What lies in the window is read before it is believed.
func TestTornResultInTheWindow(t *testing.T) {
	const n = 100
	s := newScene(t, n)
	if _, err := s.run(func(w *jobs.Work) { w.Items = 64 }); err != nil {
		t.Fatal(err)
	}
	key := fmt.Sprintf("nightly/results/%s/000000/000000007.json", s.head().Current().ID)
	if _, err := s.objects.Put(t.Context(), key, strings.NewReader(`{"half`), jobs.Condition{}); err != nil {
		t.Fatal(err)
	}
	l, err := s.store.Take(t.Context(), "nightly", s.work.Claim)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Release(t.Context(), "", func(h *jobs.Head) { h.Window = jobs.Window{End: 64}; h.Counts = jobs.Counts{} }); err != nil {
		t.Fatal(err)
	}
	if p, err := s.run(); err != nil || !p.Done || p.Failed != 1 || p.Succeeded != n-1 || s.service.total() != n {
		t.Errorf("%+v, %v, %d requests", p, err, s.service.total())
	}
}

// A deadline that passes in the middle is a break-off, and not a server that fell silent.
func TestDeadline(t *testing.T) {
	s := newScene(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	s.service.hook = func(ctx context.Context, _ string, _ int) error {
		<-ctx.Done()
		return fmt.Errorf("%w: %w", speech.ErrMute, ctx.Err())
	}
	r := jobs.Runner{Store: s.store, Audio: s.audio, Speech: s.service, Backoff: time.Millisecond}
	p, err := r.Run(ctx, s.work)
	if !errors.Is(err, context.DeadlineExceeded) || p.RedoneSeconds != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	known, err := s.store.Outcomes(t.Context(), jobOf(t, s), s.head(), 0, 1)
	if err != nil || known[0].Attempts != 1 || s.head().State != jobs.Waiting {
		t.Errorf("%+v, %v, %+v", known[0], err, s.head())
	}
	s.service.hook = nil
	if r := s.wantsAll(1); r.RedoneSeconds != 2 {
		t.Errorf("%v s redone", r.RedoneSeconds)
	}
}

// What another runner did meanwhile is not done again, even where the head does not know of it.
func TestResultsOfOthers(t *testing.T) {
	const n = 100
	s := newScene(t, n)
	elsewhere := *s
	elsewhere.service = &service{tries: map[string]int{}}
	if _, err := elsewhere.run(func(w *jobs.Work) { w.Items = 64 }); err != nil {
		t.Fatal(err)
	}
	// The head is set back, as by a runner whose last writes were lost.
	l, err := s.store.Take(t.Context(), "nightly", s.work.Claim)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Release(t.Context(), "", func(h *jobs.Head) { h.Window = jobs.Window{End: 64}; h.Counts = jobs.Counts{} }); err != nil {
		t.Fatal(err)
	}
	if r := s.wantsAll(n); s.service.total() != n-64 || r.RedoneSeconds != 0 {
		t.Errorf("%d requests, %+v", s.service.total(), r)
	}
}

func TestCancelledWhileItRuns(t *testing.T) {
	s := newScene(t, 2000)
	var once sync.Once
	s.service.hook = func(context.Context, string, int) error {
		once.Do(func() {
			if err := s.store.Cancel(t.Context(), "nightly", "ann: wrong folder"); err != nil {
				t.Error(err)
			}
		})
		return nil
	}
	p, err := s.run()
	if !errors.Is(err, jobs.ErrCancelled) || !strings.Contains(err.Error(), "wrong folder") || p.Done {
		t.Errorf("%+v, %v", p, err)
	}
	if h := s.head(); h.State != jobs.Cancelled {
		t.Errorf("the head is %+v", h)
	}
}

func TestWorkThatIsNone(t *testing.T) {
	s := newScene(t, 3)
	if _, err := s.run(func(w *jobs.Work) { w.Revision = "" }); !errors.Is(err, jobs.ErrInvalid) {
		t.Error(err)
	}
	if _, err := s.run(func(w *jobs.Work) { w.Job = "absent" }); !errors.Is(err, jobs.ErrMissing) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.service.hook = func(context.Context, string, int) error { cancel(); return ctx.Err() }
	r := jobs.Runner{Store: s.store, Audio: s.audio, Speech: s.service}
	if _, err := r.Run(ctx, s.work); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if h := s.head(); h.State != jobs.Waiting {
		t.Errorf("a run that was broken off left %+v", h)
	}
	s.service.hook = nil
	s.wantsAll(3)
}
