package fence_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/fence"
	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/probe/httpprobe"
	"github.com/understudy-dr/understudy/activities/probe/tcpprobe"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
)

const listenVariable = "FENCE_TEST_LISTEN"

// TestMain lets the test binary be the instance that is fenced.
func TestMain(m *testing.M) {
	if address := os.Getenv(listenVariable); address != "" {
		fmt.Println(http.ListenAndServe(address, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// instance is a real process that listens.
func instance(t *testing.T) (*harness.Process, runbooks.Target) {
	t.Helper()
	address := harness.Address(harness.FreePort())
	p, err := harness.Start(t.Context(), harness.Spec{
		Name: "instance", Path: os.Args[0], Dir: t.TempDir(),
		Env: []string{listenVariable + "=" + address}, Ready: harness.Listening(address),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p, runbooks.Target{Name: "primary", URL: "http://" + address}
}

func newFencer() fence.Fencer {
	return fence.New(fence.Config{
		Prober: probe.ByKind(httpprobe.New(), tcpprobe.New()),
		Secret: func(s runbooks.Secret) (string, error) {
			if s.Env == "" {
				return "", errors.New("no such secret")
			}
			return "Bearer secret-of-" + s.Env, nil
		},
	})
}

// shell is a command of a runbook; tests write theirs as scripts.
func shell(script string) []string { return []string{"/bin/sh", "-c", script} }

var (
	second = runbooks.Duration(time.Second)
	soon   = runbooks.Duration(time.Millisecond)
	long   = runbooks.Duration(time.Minute)
)

func TestFences(t *testing.T) {
	tcpClosed := &runbooks.Confirm{Kind: "tcp-closed", Within: long}
	for _, tt := range []struct {
		name    string
		command string // %d is the instance's process
		confirm *runbooks.Confirm
		timeout runbooks.Duration
		want    error
		says    string
	}{
		{name: "kills a real listener", command: "kill -9 %d", confirm: tcpClosed},
		{name: "kills it after a while", command: "(sleep 0.3; kill -9 %d) >/dev/null 2>&1 &", confirm: tcpClosed},
		{name: "http-down", command: "kill -9 %d", confirm: &runbooks.Confirm{Kind: "http-down", Within: long}},
		{name: "confirmed by a command", command: "kill -9 %d", confirm: &runbooks.Confirm{Kind: "command", Command: shell("! kill -0 $PPID_OF_INSTANCE"), Within: long}},
		{name: "claims success", command: "echo done; : %d", confirm: &runbooks.Confirm{Kind: "tcp-closed", Within: soon}, want: fence.ErrUnconfirmed, says: "accepts connections"},
		{name: "a command does not confirm", command: ": %d", confirm: &runbooks.Confirm{Kind: "command", Command: shell("echo still on; exit 3"), Within: soon}, want: fence.ErrUnconfirmed, says: "still on"},
		{name: "fails", command: "echo pdu: no outlet %d >&2; exit 1", confirm: tcpClosed, want: fence.ErrFailed, says: "pdu: no outlet"},
		{name: "fails, but the port is closed", command: "kill -9 %d; exit 1", confirm: tcpClosed},
		{name: "hangs", command: "echo trying %d; sleep 60", confirm: tcpClosed, timeout: runbooks.Duration(200 * time.Millisecond), want: fence.ErrFailed, says: "not done within 200ms"},
		{name: "hangs with children", command: "(sleep 60 & sleep 60) & : %d; wait", confirm: tcpClosed, timeout: runbooks.Duration(200 * time.Millisecond), want: fence.ErrFailed},
		{name: "not confirmed at all", command: ": %d"},
		{name: "leaves a child behind that holds its output", command: "sleep 5 & : %d"},
		{name: "fails and is not confirmed at all", command: ": %d; exit 7", want: fence.ErrFailed, says: "exit status 7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, target := instance(t)
			if tt.timeout == 0 {
				tt.timeout = long
			}
			out, err := newFencer().Set(t.Context(), fence.Order{
				Fence:  runbooks.Fence{Kind: "command", Command: shell(fmt.Sprintf(tt.command, p.PID())), Timeout: tt.timeout, Confirm: tt.confirm},
				Target: target,
				Health: runbooks.Health{Timeout: second},
				Env:    map[string]string{"PPID_OF_INSTANCE": fmt.Sprint(p.PID())},
			})
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Fatalf("%v, want %v", err, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v does not say %q", err, tt.says)
			}
			if err == nil && (out.Confirmed == "") != (tt.confirm == nil) || out.Before {
				t.Errorf("outcome %+v", out)
			}
		})
	}
}

// An instance that is down already must not be fenced again: nobody knows what is on its host by now.
func TestNothingIsDoneWhereItHoldsAlready(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "ran")
	target := runbooks.Target{URL: "http://" + harness.Address(harness.FreePort())}
	for _, c := range []runbooks.Confirm{
		{Kind: "tcp-closed"},
		{Kind: "tcp-closed", Address: harness.Address(harness.FreePort())},
		{Kind: "http-down"},
		{Kind: "http-down", URL: target.URL + "/health?light=1"},
		{Kind: "command", Command: []string{"/bin/true"}},
	} {
		out, err := newFencer().Set(t.Context(), fence.Order{
			Fence:  runbooks.Fence{Kind: "command", Command: []string{"/bin/touch", mark}, Confirm: &c},
			Target: target,
		})
		if err != nil || !out.Before || out.Confirmed == "" {
			t.Errorf("%+v: %+v, %v", c, out, err)
		}
		if _, err := os.Stat(mark); err == nil {
			t.Fatalf("%+v: the fence was set", c)
		}
	}
}

// scripted finds what a test wants, look by look, and its last finding from then on.
type scripted struct {
	findings []runbooks.Finding
	looks    atomic.Int32
}

func (s *scripted) Probe(context.Context, probe.Request) probe.Result {
	n := int(s.looks.Add(1)) - 1
	return probe.Result{Finding: s.findings[min(n, len(s.findings)-1)], Detail: "as scripted"}
}

// What looks from outside prove, before a fence, after it, and after one that failed.
func TestWhatCountsAsDown(t *testing.T) {
	const (
		answers, mute, errs  = runbooks.Answers, runbooks.Silent, runbooks.Errors
		refuses, gone, blind = runbooks.Refuses, runbooks.Unreachable, runbooks.Blind
	)
	for _, tt := range []struct {
		name     string
		findings []runbooks.Finding
		fails    bool
		set      bool // the fence was carried out
		want     error
	}{
		{"refuses twice before", []runbooks.Finding{refuses}, false, false, nil},
		{"refuses once before: a restart", []runbooks.Finding{refuses, answers, refuses}, false, true, nil},
		{"unreachable before is no proof", []runbooks.Finding{gone}, false, true, nil},
		{"mute before, refuses after", []runbooks.Finding{mute, refuses}, false, true, nil},
		{"comes back after the fence", []runbooks.Finding{answers, refuses, answers}, false, true, fence.ErrUnconfirmed},
		{"mute after", []runbooks.Finding{mute}, false, true, fence.ErrUnconfirmed},
		{"errors after", []runbooks.Finding{errs}, false, true, fence.ErrUnconfirmed},
		{"we are blind", []runbooks.Finding{blind}, false, true, fence.ErrUnconfirmed},
		{"unreachable does not excuse a failure", []runbooks.Finding{gone}, true, true, fence.ErrFailed},
		{"a refusal excuses a failure", []runbooks.Finding{mute, refuses}, true, true, nil},
		{"one refusal does not", []runbooks.Finding{mute, refuses, answers}, true, true, fence.ErrFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			mark := filepath.Join(t.TempDir(), "ran")
			command := []string{"/bin/touch", mark}
			if tt.fails {
				command = shell("touch " + mark + "; exit 1")
			}
			f := fence.New(fence.Config{Prober: &scripted{findings: tt.findings}})
			out, err := f.Set(t.Context(), fence.Order{
				Fence:  runbooks.Fence{Kind: "command", Command: command, Confirm: &runbooks.Confirm{Kind: "tcp-closed", Within: soon}},
				Target: runbooks.Target{URL: "http://10.0.0.1:1"},
			})
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Errorf("%v, want %v", err, tt.want)
			}
			_, statErr := os.Stat(mark)
			if set := statErr == nil; set != tt.set || out.Before && set {
				t.Errorf("the fence was set: %v, want %v (%+v)", set, tt.set, out)
			}
		})
	}
}

func TestOurOwnCancelIsNoFailure(t *testing.T) {
	_, target := instance(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel() // the fence is being set
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer server.Close()
	_, err := newFencer().Set(ctx, fence.Order{
		Fence:  runbooks.Fence{Kind: "http", URL: server.URL, Confirm: &runbooks.Confirm{Kind: "tcp-closed"}},
		Target: target,
	})
	if !errors.Is(err, context.Canceled) || errors.Is(err, fence.ErrFailed) || errors.Is(err, fence.ErrUnconfirmed) {
		t.Errorf("%v", err)
	}
}

func TestMistakes(t *testing.T) {
	for name, f := range map[string]runbooks.Fence{
		"kind":       {Kind: "pray"},
		"no command": {Kind: "command"},
		"no program": {Kind: "command", Command: []string{"/no/such/program"}},
		"NUL":        {Kind: "command", Command: []string{"/bin/true", "a\x00b"}},
	} {
		if _, err := newFencer().Set(t.Context(), fence.Order{Fence: f}); !errors.Is(err, fence.ErrFailed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]runbooks.Confirm{"kind": {Kind: "pray"}, "no address": {Kind: "tcp-closed"}, "no URL": {Kind: "http-down"}} {
		c.Within = soon
		o := fence.Order{Fence: runbooks.Fence{Kind: "command", Command: []string{"/bin/true"}, Confirm: &c}}
		if _, err := newFencer().Set(t.Context(), o); !errors.Is(err, fence.ErrUnconfirmed) {
			t.Errorf("confirm, %s: %v", name, err)
		}
	}
}
