package command_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/traffic/command"
	"github.com/understudy-dr/understudy/activities/traffic/haproxy"
	"github.com/understudy-dr/understudy/activities/traffic/traffictest"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
)

// TestMain lets this program be the user's: called as "drive SOCKET view" or
// "drive SOCKET apply" it drives a real HAProxy.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "drive" {
		os.Exit(drive(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

func drive(socket, verb string) int {
	b, err := haproxy.New(runbooks.Traffic{Sockets: []string{socket}, Backend: "speech"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var v traffic.View
	switch verb {
	case "view":
		v, err = b.View(context.Background())
	case "apply":
		var c traffic.Change
		if err = json.NewDecoder(os.Stdin).Decode(&c); err == nil {
			v, err = b.Apply(context.Background(), c)
		}
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(v)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	switch {
	case errors.Is(err, traffic.ErrRefused):
		return 2
	case err != nil:
		return 1
	default:
		return 0
	}
}

func TestConformance(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	traffictest.Run(t, func(t *testing.T, servers map[string]string) traffictest.Fixture {
		front := harness.Address(harness.FreePort())
		h := traffictest.HAProxy(t, fmt.Sprintf(`
defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  option redispatch
frontend front
  bind %s
  default_backend speech
backend speech
  server primary %s
  server hot %s disabled
  server cold %s disabled
`, front, servers[traffictest.Primary], servers[traffictest.Hot], servers[traffictest.Cold]))
		// A program built with -race sleeps for a second before it ends, unless told otherwise.
		argv := []string{"/usr/bin/env", "GORACE=atexit_sleep_ms=0", self, "drive", h.Socket}
		b, err := command.New(runbooks.Traffic{Command: argv, Servers: servers})
		if err != nil {
			t.Fatal(err)
		}
		return traffictest.Fixture{
			Balancer: b, Front: "http://" + front, Cuts: true, Drains: true, Moves: true, Seamless: true, Break: h.Kill,
			Freeze: func() {
				if err := h.Freeze(t.Context()); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

// script makes a balancer of a shell script. $1 is the verb.
func script(t *testing.T, text string) *command.Balancer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := command.New(runbooks.Traffic{
		Command: []string{"/bin/sh", path}, Front: "http://front",
		Servers: map[string]string{"primary": "10.0.0.10:80", "hot": "10.0.0.11:80"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var change = traffic.Change{Set: []traffic.Assignment{{Server: "primary", State: traffic.Maint}, {Server: "hot", State: traffic.Ready}}}

const good = `{"servers":[{"name":"primary","state":"maint"},{"name":"hot","state":"ready"}]}`

func TestWhatTheProgramIsGiven(t *testing.T) {
	t.Setenv("SECRET_OF_OURS", "hush")
	log := filepath.Join(t.TempDir(), "log")
	b := script(t, `{ echo "$# $1"; cat; echo; env | sort; } >`+log+"; echo '"+good+"'")
	v, err := b.Apply(t.Context(), change)
	if err != nil || v.At.IsZero() {
		t.Fatal(v, err)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"1 apply\n",
		`{"set":[{"server":"hot","state":"ready"},{"server":"primary","state":"maint"}]}` + "\n",
		`UNDERSTUDY_SERVERS={"hot":"10.0.0.11:80","primary":"10.0.0.10:80"}` + "\n",
		"UNDERSTUDY_FRONT=http://front\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "hush") {
		t.Errorf("our environment came along:\n%s", text)
	}
}

func TestWhatTheProgramAnswers(t *testing.T) {
	for _, c := range []struct {
		name, script string
		is           error
		says         string
	}{
		{"a view", "echo '" + good + "'", nil, ""},
		{"refusal", "echo VIP is pinned >&2; exit 2", traffic.ErrRefused, "VIP is pinned"},
		{"failure", "echo no route >&2; exit 1", traffic.ErrUnreachable, "no route"},
		{"a signal", "kill -9 $$", traffic.ErrUnreachable, "killed"},
		{"nothing", "", traffic.ErrUnreachable, "prints no view"},
		{"no JSON", "echo ok", traffic.ErrUnreachable, "prints no view"},
		{"null", "echo null", traffic.ErrUnreachable, "no servers"},
		{"more than a view", "echo '" + good + good + "'", traffic.ErrUnreachable, "more than one"},
		{"a misspelt key", `echo '{"servers":[{"name":"hot","state":"ready","backupp":true}]}'`, traffic.ErrUnreachable, "backupp"},
		{"no state", `echo '{"servers":[{"name":"hot"}]}'`, traffic.ErrUnreachable, "no state"},
		{"a hostile name", `printf %s '{"servers":[{"name":"hot\nx","state":"ready"}]}'`, traffic.ErrUnreachable, "no name"},
		{"one server twice", `echo '{"servers":[{"name":"hot","state":"ready"},{"name":"hot","state":"maint"}]}'`, traffic.ErrUnreachable, "twice"},
		{"a flood", "yes", traffic.ErrUnreachable, "prints more than"},
		{"nothing, ever", "sleep 600", traffic.ErrUnreachable, "does not end in time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := script(t, c.script)
			_, viewed := b.View(t.Context())
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if c.name == "nothing, ever" {
				cancel()
				ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
			}
			defer cancel()
			_, applied := b.Apply(ctx, change)
			for verb, err := range map[string]error{"view": viewed, "apply": applied} {
				if !errors.Is(err, c.is) || (err != nil && !strings.Contains(err.Error(), c.says)) {
					t.Errorf("%s: %v, want %v, %q", verb, err, c.is, c.says)
				}
			}
		})
	}
}

func TestALieIsNotBelieved(t *testing.T) {
	b := script(t, `echo '{"servers":[{"name":"primary","state":"ready"},{"name":"hot","state":"ready"}]}'`)
	if _, err := b.Apply(t.Context(), change); err == nil || !strings.Contains(err.Error(), "primary is ready, not maint") {
		t.Errorf("apply: %v", err)
	}
}

func TestNew(t *testing.T) {
	for name, config := range map[string]runbooks.Traffic{
		"no program":        {},
		"an empty program":  {Command: []string{""}},
		"a hostile server":  {Command: []string{"x"}, Servers: map[string]string{"a b": "b:1"}},
		"a hostile address": {Command: []string{"x"}, Servers: map[string]string{"a": "b"}},
	} {
		if _, err := command.New(config); !errors.Is(err, traffic.ErrRefused) {
			t.Errorf("%s: %v, want ErrRefused", name, err)
		}
	}
}
