// Package probetest is what every prober must do, shown on real listeners that
// behave as badly as instances do.
package probetest

import (
	"context"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
)

// Fixture is the prober under test.
type Fixture struct {
	Prober probe.Prober
	// Kind is the kind of health check that it asks, http or tcp.
	Kind string
}

// patience is the timeout where the instance answers at once: long, so that a
// busy machine does not make it late. haste is that where it never answers.
const (
	patience = 5 * time.Second
	haste    = 250 * time.Millisecond
)

// look is one instance and what must be found out about it.
type look struct {
	name     string
	instance func(t *testing.T) string
	health   runbooks.Health
	// http and tcp are the findings by kind; an empty one leaves the kind out.
	http, tcp runbooks.Finding
	// detail must be part of the detail of an http look.
	detail string
}

var looks = []look{
	{name: "answers", instance: says(200, `{"status":"ok"}`), http: runbooks.Answers, tcp: runbooks.Answers, detail: "HTTP 200"},
	{name: "answers with no content", instance: says(204, ""), http: runbooks.Answers},
	{name: "path with a query", instance: onlyAt("/health?light=1"), health: runbooks.Health{Path: "/health?light=1"}, http: runbooks.Answers},
	{name: "503", instance: says(503, "loading the model\n"), http: runbooks.Errors, tcp: runbooks.Answers, detail: "HTTP 503: loading the model"},
	{name: "redirect is not followed", instance: redirects, http: runbooks.Errors, detail: "redirect"},
	{name: "ready", instance: says(200, `{"models_loaded":["fun-asr-nano"]}`), health: runbooks.Health{Ready: `"fun-asr-nano" in models_loaded`}, http: runbooks.Answers},
	{name: "not ready", instance: says(200, `{"models_loaded":["sensevoice"]}`), health: runbooks.Health{Ready: `"fun-asr-nano" in models_loaded`},
		http: runbooks.Errors, detail: `not ready: "fun-asr-nano" in models_loaded is false`},
	{name: "field is missing", instance: says(200, `{}`), health: runbooks.Health{Ready: `status == "ok"`}, http: runbooks.Errors, detail: "is false"},
	{name: "field has another type", instance: says(200, `{"models_loaded":7}`), health: runbooks.Health{Ready: `"x" in models_loaded`}, http: runbooks.Errors, detail: "not ready"},
	{name: "ready wants JSON", instance: says(200, "OK"), health: runbooks.Health{Ready: `status == "ok"`}, http: runbooks.Errors, detail: "no JSON object: OK"},
	{name: "deep JSON", instance: says(200, strings.Repeat("[", 60<<10)), health: runbooks.Health{Ready: `status == "ok"`}, http: runbooks.Errors, detail: "not ready"},
	{name: "huge body", instance: pours, http: runbooks.Answers, tcp: runbooks.Answers},
	{name: "huge body is never ready", instance: pours, health: runbooks.Health{Ready: `status == "ok"`}, http: runbooks.Errors, detail: "longer than 64 KiB"},
	{name: "huge header", instance: raw(func(c conn) { c.pour("HTTP/1.1 200 OK\r\n", "X-More: 0123456789\r\n") }), http: runbooks.Errors, tcp: runbooks.Answers},
	{name: "garbage", instance: raw(func(c conn) { c.say("\x00\x1b[31m\xff\xfe nonsense\r\n\r\n") }), http: runbooks.Errors, tcp: runbooks.Answers},
	{name: "closes what it accepts", instance: raw(func(c conn) {}), http: runbooks.Errors, tcp: runbooks.Answers, detail: "closed"},
	{name: "resets what it accepts", instance: raw(func(c conn) { c.reset() }), http: runbooks.Errors, tcp: runbooks.Answers},
	{name: "body ends early", instance: raw(func(c conn) { c.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}") }), http: runbooks.Errors, detail: "HTTP 200"},
	{name: "refuses", instance: refuses, http: runbooks.Refuses, tcp: runbooks.Refuses},
	{name: "hangs", instance: raw(func(c conn) { c.hang() }), health: runbooks.Health{Timeout: runbooks.Duration(haste)}, http: runbooks.Silent, tcp: runbooks.Answers, detail: "no whole answer"},
	{name: "body drips", instance: raw(func(c conn) { c.drip() }), health: runbooks.Health{Timeout: runbooks.Duration(haste)}, http: runbooks.Silent},
	{name: "answers to the second try", instance: waitsForTwo, health: runbooks.Health{Timeout: runbooks.Duration(time.Second)}, http: runbooks.Slow, detail: "the limit is 1s"},
	{name: "nobody takes the connection", instance: full, health: runbooks.Health{Timeout: runbooks.Duration(haste)}, http: runbooks.Unreachable, tcp: runbooks.Unreachable},
	{name: "no such kind of URL", instance: func(*testing.T) string { return "gopher:nobody" }, http: runbooks.Blind, tcp: runbooks.Blind},
	{name: "unusable expression", instance: says(200, `{}`), health: runbooks.Health{Ready: "status =="}, http: runbooks.Blind},
	{name: "path that leads elsewhere", instance: says(200, `{}`), health: runbooks.Health{Path: "@127.0.0.9/"}, http: runbooks.Blind},
}

// Run holds a prober against the contract.
func Run(t *testing.T, newProber func(t *testing.T) Fixture) {
	for _, l := range looks {
		t.Run(l.name, func(t *testing.T) {
			f := newProber(t)
			want := map[string]runbooks.Finding{"http": l.http, "tcp": l.tcp}[f.Kind]
			if want == "" {
				return // this says nothing about the kind
			}
			t.Parallel()
			got := f.Prober.Probe(t.Context(), f.request(l.instance(t), l.health))
			check(t, got, want)
			if f.Kind == "http" && !strings.Contains(got.Detail, l.detail) {
				t.Errorf("detail %q does not say %q", got.Detail, l.detail)
			}
		})
	}
	t.Run("our own cancel is blind", func(t *testing.T) {
		f := newProber(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		check(t, f.Prober.Probe(ctx, f.request(says(200, "{}")(t), runbooks.Health{})), runbooks.Blind)
	})
	t.Run("our own deadline is blind", func(t *testing.T) {
		f := newProber(t)
		ctx, cancel := context.WithTimeout(t.Context(), haste)
		defer cancel()
		instance := raw(func(c conn) { c.hang() })
		if f.Kind == "tcp" {
			instance = full
		}
		check(t, f.Prober.Probe(ctx, f.request(instance(t), runbooks.Health{})), runbooks.Blind)
	})
	t.Run("a new connection each time", func(t *testing.T) {
		f := newProber(t)
		url, seen := counts(t)
		for range 3 {
			check(t, f.Prober.Probe(t.Context(), f.request(url, runbooks.Health{})), runbooks.Answers)
		}
		if got := seen(3); got != 3 {
			t.Errorf("3 looks used %d connections", got)
		}
	})
}

func (f Fixture) request(url string, h runbooks.Health) probe.Request {
	h.Kind = f.Kind
	if h.Timeout == 0 {
		h.Timeout = runbooks.Duration(patience)
	}
	if f.Kind == "tcp" {
		h.Path, h.Ready = "", ""
	}
	return probe.Request{URL: url, Health: h}
}

// check holds a result against the finding, and its form against the contract.
func check(t *testing.T, got probe.Result, want runbooks.Finding) {
	t.Helper()
	if got.Finding != want {
		t.Fatalf("finding %q (%s), want %q", got.Finding, got.Detail, want)
	}
	if got.Detail == "" || len([]rune(got.Detail)) > 2*probe.QuoteLimit {
		t.Errorf("detail of %d characters: %.500q", len([]rune(got.Detail)), got.Detail)
	}
	if strings.ContainsFunc(got.Detail, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("detail is not printable: %q", got.Detail)
	}
	if got.At.IsZero() || time.Since(got.At) > time.Minute {
		t.Errorf("the look began at %s", got.At)
	}
}
