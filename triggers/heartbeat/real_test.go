package heartbeat_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/probe/httpprobe"
	"github.com/understudy-dr/understudy/activities/probe/tcpprobe"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/traffic/haproxy"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
	"github.com/understudy-dr/understudy/tests/site/audio"
	"github.com/understudy-dr/understudy/tests/site/stage"
	"github.com/understudy-dr/understudy/triggers/heartbeat"
)

// real is a heartbeat on the machine's clock, with the probers that the program uses.
type real struct {
	asks chan heartbeat.Ask
	book runbooks.Runbook
	acts *activities.Activities
	// consulted counts how often the load balancer was asked.
	consulted atomic.Int32
}

func (r *real) AskBalancer(ctx context.Context, in activities.DiagnoseInput) (activities.Diagnosis, error) {
	r.consulted.Add(1)
	return r.acts.AskBalancer(ctx, in)
}

func (r *real) Active(context.Context, string) (heartbeat.Active, error) {
	target, _ := r.book.TargetNamed(runbooks.PrimaryName)
	return heartbeat.Active{Target: target}, nil
}

func (r *real) Recover(_ context.Context, ask heartbeat.Ask) (heartbeat.Answer, error) {
	r.asks <- ask
	return heartbeat.Answer{Reason: "the test decides"}, nil
}

func (r *real) Page(context.Context, string, string) error { return nil }

func (r *real) listen(t testing.TB, library *runbooks.Library, balancer traffic.Balancer) {
	t.Helper()
	prober := probe.ByKind(httpprobe.New(), tcpprobe.New())
	r.acts = activities.New(activities.Deps{Prober: prober, Balancers: func(runbooks.Traffic) (traffic.Balancer, error) {
		if balancer == nil {
			return nil, errors.New("there is none")
		}
		return balancer, nil
	}})
	h := heartbeat.New(heartbeat.Config{
		Library: func() *runbooks.Library { return library }, Actives: r, Prober: prober, Balancers: r, Guards: r, Pager: r,
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { h.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
}

// patient gives a real server on a busy machine time to answer.
func patient(r runbooks.Runbook) runbooks.Runbook {
	r.Health.Timeout, r.Heartbeat.Interval = runbooks.Duration(1600*time.Millisecond), runbooks.Duration(2*time.Second)
	return r
}

// A real speech server that hangs, as a process does that was stopped: the kernel takes connections for it, and nobody answers.
func TestARealHang(t *testing.T) {
	t.Parallel()
	site := harnesstest.ASR(t, harness.SiteOptions{})
	r := &real{asks: make(chan heartbeat.Ask, 10), book: patient(book("fun-asr", site.URL))}
	r.listen(t, runbooks.NewLibrary(r.book), nil)
	before, err := site.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for seen := before; seen.Requests["/health"] < before.Requests["/health"]+3; time.Sleep(10 * time.Millisecond) { // it beats
		if seen, err = site.Stats(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := site.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	frozen := time.Now()
	select {
	case ask := <-r.asks:
		t.Logf("seen after %s", time.Since(frozen).Round(time.Millisecond))
		if !strings.Contains(ask.Reason, string(runbooks.Silent)) || ask.Since.After(time.Now()) || frozen.Sub(ask.Since) > 2*time.Second {
			t.Errorf("asked for %+v, frozen at %s", ask, frozen)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the hang was not seen")
	}
}

// A real inference holds the health check up for seconds, and HAProxy knows of it; then the server hangs for good.
func TestARealInference(t *testing.T) {
	t.Parallel()
	if _, err := harness.Find("haproxy", "haproxy"); err != nil {
		t.Skipf("missing: %v", err)
	}
	site := harnesstest.ASR(t, harness.SiteOptions{Args: []string{"--blocking"}})
	front := harness.Address(harness.FreePort())
	proxy, err := harness.HAProxy(t.Context(), t.TempDir(), fmt.Sprintf(`
defaults
  mode http
  timeout connect 1s
  timeout client 1m
  timeout server 1m
frontend front
  bind %s
  default_backend fun_asr
backend fun_asr
  server primary %s
`, front, strings.TrimPrefix(site.URL, "http://")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Kill)
	r := &real{asks: make(chan heartbeat.Ask, 10), book: patient(book("fun-asr", site.URL))}
	r.book.Health.Busy = runbooks.Duration(10 * time.Minute)
	r.book.Traffic = runbooks.Traffic{Kind: "haproxy", Sockets: []string{proxy.Socket}, Backend: "fun_asr"}
	balancer, err := haproxy.New(r.book.Traffic)
	if err != nil {
		t.Fatal(err)
	}
	clip, err := audio.Say(t.Context(), audio.Digits)
	if err != nil {
		t.Fatal(err)
	}
	r.listen(t, runbooks.NewLibrary(r.book), balancer)
	began := time.Now()
	// Longer than it takes to suspect the server, whatever the machine's speed.
	if err := site.Fault(t.Context(), stage.Fault{Mode: stage.Slow, Delay: "6s", File: "long.wav"}); err != nil {
		t.Fatal(err)
	}
	if err := transcribe(t.Context(), "http://"+front, clip); err != nil {
		t.Fatal(err)
	}
	if r.consulted.Load() == 0 {
		t.Error("nobody has asked HAProxy, so this test shows nothing")
	}
	select {
	case ask := <-r.asks:
		t.Fatalf("within an inference of %s it was asked for %+v", time.Since(began), ask)
	default:
		t.Logf("an inference of %s was no failure", time.Since(began).Round(time.Millisecond))
	}
	if err := site.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case ask := <-r.asks:
		if !strings.Contains(ask.Reason, string(runbooks.Silent)) {
			t.Errorf("asked for %+v", ask)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the hang was not seen")
	}
}

func transcribe(ctx context.Context, base string, clip audio.Clip) error {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	file, err := form.CreateFormFile("file", "long.wav")
	if err == nil {
		_, err = file.Write(clip.WAV())
	}
	if err := errors.Join(err, form.Close()); err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/audio/transcriptions", &body)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", form.FormDataContentType())
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return err
}

// What thousands of heartbeats cost: real probes of a server in this process, whose own work is in the figure too.
func BenchmarkHeartbeats(b *testing.B) {
	for _, load := range []struct {
		services int
		interval time.Duration
	}{{5000, time.Second}, {2000, 500 * time.Millisecond}} {
		b.Run(fmt.Sprintf("%d services every %s", load.services, load.interval), func(b *testing.B) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, `{"status":"ok"}`)
			}))
			defer server.Close()
			r := &real{asks: make(chan heartbeat.Ask, 10_000), book: book("service", server.URL)}
			var books []runbooks.Runbook
			for i := range load.services {
				one := book(fmt.Sprintf("service-%04d", i), server.URL)
				one.Heartbeat.Interval = runbooks.Duration(load.interval)
				books = append(books, one)
			}
			const lasts = 10 * time.Second
			for b.Loop() {
				before := cpu(b)
				r.listen(b, runbooks.NewLibrary(books...), nil)
				time.Sleep(lasts)
				b.ReportMetric(float64(cpu(b)-before)/float64(lasts), "cores")
				b.ReportMetric(float64(len(r.asks)), "false-alarms")
			}
		})
	}
}

// cpu is what this process has used so far.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
