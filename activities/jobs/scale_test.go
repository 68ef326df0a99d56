package jobs_test

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/jobs/s3store"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/speech"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// scaleVariable asks for more items than the few thousand of an ordinary test run: 100000 take some minutes.
	scaleVariable = "UNDERSTUDY_BATCH_ITEMS"
	// serverVariable makes this test program an S3 server, whose memory is then not ours.
	serverVariable = "UNDERSTUDY_TEST_S3"

	fewItems = 2000
)

func TestMain(m *testing.M) {
	if os.Getenv(serverVariable) != "" {
		server := httptest.NewServer(gofakes3.New(s3mem.New(), gofakes3.WithTimeSkewLimit(0)).Server())
		fmt.Println(server.URL)
		select {}
	}
	os.Exit(m.Run())
}

// elsewhere is an S3 server in another process.
func elsewhere(t *testing.T) *s3.Client {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var url string
	if _, err := fmt.Fscanln(out, &url); err != nil {
		t.Fatal(err)
	}
	t.Setenv("UNDERSTUDY_TEST_KEY", "key")
	key := runbooks.Secret{Env: "UNDERSTUDY_TEST_KEY"}
	client, err := s3client.New(map[string]runbooks.S3{"default": {Endpoint: url, Region: "us-east-1", PathStyle: true, AccessKey: key, SecretKey: key}}).For("batches")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("batches")}); err != nil {
		t.Fatal(err)
	}
	return client
}

// Many items against a fast engine: memory stays flat, a resume in the middle
// reads little, and the numbers are printed.
func TestManyItems(t *testing.T) {
	n := fewItems
	if text := os.Getenv(scaleVariable); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	objects := &counted{Objects: s3store.New(elsewhere(t), s3client.Location{Bucket: "batches", Key: "fun-asr"})}
	store := jobs.NewStore(objects)
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, `{"audio_filepath": "%d.wav", "duration": 2}`+"\n", i)
	}
	if _, err := store.Create(t.Context(), jobs.Job{ID: "large", Service: "fun-asr", Base: "/audio"}, strings.NewReader(text.String())); err != nil {
		t.Fatal(err)
	}
	text.Reset()
	runtime.GC()
	var least, most uint64
	service := &quick{}
	r := jobs.Runner{Store: store, Audio: newTones(t), Speech: service}
	work := jobs.Work{Job: "large", Claim: jobs.Claim{Holder: "a", Lanes: 16}, Revision: "1", Items: int64(n / 2)}
	work.Progress = func(p jobs.Progress) {
		if p.Succeeded%1000 != 0 {
			return
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		if least == 0 {
			least = m.HeapAlloc
		}
		most = max(most, m.HeapAlloc)
	}
	began := time.Now()
	p, err := r.Run(t.Context(), work)
	if err != nil {
		t.Fatalf("%+v, %v", p, err)
	}
	t.Logf("%d items in %s, %.0f a second", p.Succeeded, time.Since(began).Round(time.Millisecond), float64(p.Succeeded)/time.Since(began).Seconds())
	// A resume in the middle looks at the window, not at what is behind it.
	before := objects.calls.Load()
	began = time.Now()
	work.Claim = jobs.Claim{Holder: "b", Epoch: 2, Lanes: 16}
	work.Items = 1
	if p, err = r.Run(t.Context(), work); err != nil {
		t.Fatalf("%+v, %v", p, err)
	}
	if calls := objects.calls.Load() - before; calls > 3*jobs.Page {
		t.Errorf("a resume took %d calls", calls)
	} else {
		t.Logf("resumed at item %d in %s with %d calls", p.Next.Item, time.Since(began).Round(time.Millisecond), calls)
	}
	work.Items = 0
	if p, err = r.Run(t.Context(), work); err != nil || !p.Done {
		t.Fatalf("%+v, %v", p, err)
	}
	if grown := int64(most) - int64(least); grown > 16<<20 {
		t.Errorf("the heap grew from %d to %d KiB", least>>10, most>>10)
	}
	began = time.Now()
	report, err := store.Finish(t.Context(), "large", work.Claim, nil)
	if err != nil || report.Succeeded != int64(n) || service.n.Load() != int64(n) {
		t.Fatalf("%d requests, %+v, %v", service.n.Load(), report, err)
	}
	t.Logf("collected in %s; heap %d to %d KiB", time.Since(began).Round(time.Millisecond), least>>10, most>>10)
	began = time.Now()
	if _, err := store.Outcomes(t.Context(), jobOfID(t, store, "large"), headOf(t, store, "large"), 0, int64(n)); err != nil {
		t.Fatal(err)
	}
	t.Logf("listed %d items in %s", n, time.Since(began).Round(time.Millisecond))
}

func jobOfID(t *testing.T, s *jobs.Store, id string) jobs.Job {
	t.Helper()
	j, _, err := s.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func headOf(t *testing.T, s *jobs.Store, id string) jobs.Head {
	t.Helper()
	_, h, err := s.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// quick answers at once.
type quick struct{ n atomic.Int64 }

func (q *quick) Transcribe(context.Context, speech.TranscribeRequest) (speech.Transcript, error) {
	q.n.Add(1)
	return speech.Transcript{Text: "one two three"}, nil
}

// counted counts what is asked of a store.
type counted struct {
	jobs.Objects
	calls atomic.Int64
}

func (c *counted) Get(ctx context.Context, key string, span jobs.Span) (jobs.Object, error) {
	c.calls.Add(1)
	return c.Objects.Get(ctx, key, span)
}

func (c *counted) Put(ctx context.Context, key string, body io.ReadSeeker, when jobs.Condition) (string, error) {
	c.calls.Add(1)
	return c.Objects.Put(ctx, key, body, when)
}

func (c *counted) List(ctx context.Context, prefix, after string, limit int) ([]string, error) {
	c.calls.Add(1)
	return c.Objects.List(ctx, prefix, after, limit)
}
