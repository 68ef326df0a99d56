package main_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
	"github.com/understudy-dr/understudy/tests/site/audio"
	"github.com/understudy-dr/understudy/tests/site/stage"
)

func suffer(t *testing.T, site *harness.Site, fault stage.Fault) {
	t.Helper()
	if err := site.Fault(t.Context(), fault); err != nil {
		t.Fatal(err)
	}
}

func TestFaultsThatPass(t *testing.T) {
	t.Parallel()
	site := harnesstest.ASR(t, harness.SiteOptions{Args: []string{"--fault", "not-ready"}})
	digits := say(t, audio.Digits).WAV()
	endpoint := site.URL + "/v1/audio/transcriptions"
	hears := func(t *testing.T, expected string) {
		t.Helper()
		if got := text(t, site, digits); got != expected {
			t.Errorf("heard %q, want %q", got, expected)
		}
	}
	loaded := func(t *testing.T) string {
		t.Helper()
		var health struct {
			ModelsLoaded []string `json:"models_loaded"`
		}
		want(t, get(t, site.URL+"/health"), 200, &health)
		return strings.Join(health.ModelsLoaded, ",")
	}

	if got := loaded(t); got != "fallback" {
		t.Errorf("not ready: loaded %q", got)
	}
	suffer(t, site, stage.Fault{Mode: stage.None})
	if got := loaded(t); got != "pocketsphinx-en-us" {
		t.Errorf("ready: loaded %q", got)
	}

	suffer(t, site, stage.Fault{Mode: stage.Hang})
	if !mute(t, site.URL+"/health") || !mute(t, site.URL+"/metrics") {
		t.Error("it answers while it hangs")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	if r := send(ctx, "GET", site.URL+"/v1/models", "", nil); !errors.Is(r.err, context.DeadlineExceeded) {
		t.Errorf("it answers %d while it hangs, %v", r.status, r.err)
	}
	suffer(t, site, stage.Fault{Mode: stage.None})
	hears(t, audio.Digits)

	suffer(t, site, stage.Fault{Mode: stage.Wrong, After: 1})
	hears(t, audio.Digits)
	var got struct{ Text string }
	want(t, upload(t, endpoint, "a.wav", digits), 200, &got)
	if got.Text == "" || strings.Contains(audio.Digits, got.Text) {
		t.Errorf("wrong: heard %q", got.Text)
	}

	suffer(t, site, stage.Fault{Mode: stage.Error})
	for _, r := range []reply{get(t, site.URL+"/health"), upload(t, endpoint, "a.wav", digits)} {
		want(t, r, http.StatusServiceUnavailable, nil)
		if !strings.HasPrefix(string(r.body), `{"detail":"`) {
			t.Errorf("error: it says %s", r.body)
		}
	}

	suffer(t, site, stage.Fault{Mode: stage.Slow, Delay: "300ms"})
	start := time.Now()
	if want(t, get(t, site.URL+"/health"), 200, nil); time.Since(start) < 300*time.Millisecond {
		t.Errorf("slow: health took %v", time.Since(start))
	}

	suffer(t, site, stage.Fault{Mode: stage.Error, File: "poison"})
	hears(t, audio.Digits)
	want(t, upload(t, endpoint, "my poison.wav", digits), http.StatusServiceUnavailable, nil)
	want(t, get(t, site.URL+"/health"), 200, nil)

	if err := site.Fault(t.Context(), stage.Fault{Mode: "explode"}); err == nil {
		t.Error("a mode that is none was taken")
	}
	suffer(t, site, stage.Fault{Mode: stage.None})
	hears(t, audio.Digits)
}

func TestCrash(t *testing.T) {
	t.Parallel()
	site := harnesstest.ASR(t, harness.SiteOptions{})
	suffer(t, site, stage.Fault{Mode: stage.Crash})
	<-site.Done()
	if code := exitCode(site); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if r := get(t, site.URL+"/health"); !errors.Is(r.err, syscall.ECONNREFUSED) {
		t.Errorf("after the crash: status %d, %v", r.status, r.err)
	}
}

func TestCrashInTheMiddleOfAnInference(t *testing.T) {
	t.Parallel()
	site := harnesstest.ASR(t, harness.SiteOptions{})
	digits := say(t, audio.Digits).WAV()
	engine := engineOf(t, site)
	suffer(t, site, stage.Fault{Mode: stage.CrashMid, After: 1})
	if got := text(t, site, digits); got != audio.Digits {
		t.Errorf("the one before it heard %q", got)
	}
	want(t, get(t, site.URL+"/health"), 200, nil)
	if r := upload(t, site.URL+"/asr", "a.wav", digits); r.err == nil || errors.Is(r.err, syscall.ECONNREFUSED) || errors.Is(r.err, context.DeadlineExceeded) {
		t.Errorf("status %d, %v; want a broken connection", r.status, r.err)
	}
	<-site.Done()
	var exit *exec.ExitError
	if !errors.As(site.Err(), &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("it ended with %v, want a kill", site.Err())
	}
	gone(t, engine)
}

// engineOf is the process of a server's engine, the only one that it started.
func engineOf(t *testing.T, site *harness.Site) int {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", site.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		pids, _ := os.ReadFile(list)
		if pid, err := strconv.Atoi(strings.TrimSpace(string(pids))); err == nil {
			return pid
		}
	}
	t.Fatal("no engine runs")
	return 0
}

// gone waits until a process has ended; a zombie has.
func gone(t *testing.T, pid int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d outlives its owner: %s", pid, stat)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestSiteEndsWithItsEngine(t *testing.T) {
	t.Parallel()
	site := harnesstest.ASR(t, harness.SiteOptions{})
	engine := engineOf(t, site)
	if err := syscall.Kill(engine, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-site.Done()
	if code := exitCode(site); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

func TestTermLetsARequestEnd(t *testing.T) {
	t.Parallel()
	site := harnesstest.ASR(t, harness.SiteOptions{})
	suffer(t, site, stage.Fault{Mode: stage.Slow, Delay: "500ms"})
	done := make(chan reply, 1)
	digits := say(t, audio.Digits).WAV()
	go func() { done <- upload(t, site.URL+"/asr", "a.wav", digits) }()
	inFlight(t, site, 1)
	site.Signal(syscall.SIGTERM)
	var got struct{ Text string }
	if want(t, <-done, 200, &got); got.Text != audio.Digits {
		t.Errorf("heard %q", got.Text)
	}
	<-site.Done()
	if site.Err() != nil {
		t.Errorf("it ended with %v, want exit code 0", site.Err())
	}
}

func TestConnectionsAreRefusedUntilTheModelIsLoaded(t *testing.T) {
	t.Parallel()
	harnesstest.Engines(t)
	program, err := harness.BuildSite(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	model, err := harness.BuildModel(t.Context(), "asr", harness.ModelVersion)
	if err != nil {
		t.Fatal(err)
	}
	address, admin := harness.Address(harness.FreePort()), harness.Address(harness.FreePort())
	loading, err := harness.Start(t.Context(), harness.Spec{
		Name: "asr", Path: program, Dir: t.TempDir(), Ready: harness.Responding("http://" + admin + "/stats"),
		Args: []string{"asr", "--model", model, "--listen", address, "--admin", admin, "--load-delay", "1h"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer loading.Kill()
	if _, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial while it loads: %v, want %v", err, syscall.ECONNREFUSED)
	}
}

func TestDamagedModelIsRefusedWithCode3(t *testing.T) {
	t.Parallel()
	harnesstest.Engines(t)
	program, err := harness.BuildSite(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	whole, err := harness.BuildModel(t.Context(), "tts", harness.ModelVersion)
	if err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(damaged, os.DirFS(whole)); err != nil {
		t.Fatal(err)
	}
	flip(t, filepath.Join(damaged, "rms.flitevox"))
	for _, c := range []struct{ name, kind, model, says string }{
		{"a flipped bit", "tts", damaged, "rms.flitevox was changed"},
		{"no model", "asr", filepath.Join(damaged, "none"), "no such file"},
		{"a model of the other kind", "asr", whole, "does not list en-us/mdef"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), program, c.kind, "--model", c.model, "--listen", harness.Address(harness.FreePort())).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(string(out), c.says) {
				t.Errorf("%v, it says %s; want exit code 3 and %q", err, out, c.says)
			}
		})
	}
}

func flip(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	put(t, path, string(data))
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func exitCode(site *harness.Site) int {
	var exit *exec.ExitError
	if errors.As(site.Err(), &exit) {
		return exit.ExitCode()
	}
	return 0
}
