package httpprobe_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/probe/httpprobe"
	"github.com/understudy-dr/understudy/activities/probe/probetest"
	"github.com/understudy-dr/understudy/runbooks"
)

func TestConformance(t *testing.T) {
	probetest.Run(t, func(*testing.T) probetest.Fixture {
		return probetest.Fixture{Prober: httpprobe.New(), Kind: "http"}
	})
}

// An instance decides how long an expression's loops are; it must not be able to keep the prober busy.
func TestExpressionsEndWithTheLook(t *testing.T) {
	list := "[" + strings.Repeat("1,", 30_000) + "1]"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"a":`+list+`}`)
	}))
	defer server.Close()
	ready := "all(a, all(a, all(a, # == 1)))"
	got := httpprobe.New().Probe(t.Context(), probe.Request{
		URL: server.URL, Health: runbooks.Health{Ready: ready, Timeout: runbooks.Duration(200 * time.Millisecond)},
	})
	if got.Finding != runbooks.Silent {
		t.Errorf("finding %q (%s), want %q", got.Finding, got.Detail, runbooks.Silent)
	}
}

func TestExpressionsMayBeBig(t *testing.T) {
	var wide atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if wide.Load() {
			_, _ = io.WriteString(w, `{"n": 100000000}`)
			return
		}
		_, _ = io.WriteString(w, `{"n": 3}`)
	}))
	defer server.Close()
	p, ask := httpprobe.New(), probe.Request{
		URL: server.URL, Health: runbooks.Health{Ready: "len(map(1..n, # * 2)) > 0", Timeout: runbooks.Duration(5 * time.Second)},
	}
	if got := p.Probe(t.Context(), ask); got.Finding != runbooks.Answers {
		t.Errorf("a small range: %q (%s)", got.Finding, got.Detail)
	}
	wide.Store(true)
	if got := p.Probe(t.Context(), ask); got.Finding != runbooks.Errors || !strings.Contains(got.Detail, "memory") {
		t.Errorf("a range of 100,000,000: %q (%s), want the memory limit", got.Finding, got.Detail)
	}
}

// What loops return must reach the expression unchanged by the clock in them.
func TestExpressions(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"status":"ok","models":[{"id":"a","ready":true},{"id":"b","ready":false}],"len":3,"load":0.5}`)
	}))
	defer server.Close()
	for ready, want := range map[string]runbooks.Finding{
		`any(models, .id == "a" && .ready)`:           runbooks.Answers,
		`any(models, .id == "b" && .ready)`:           runbooks.Errors,
		`all(models, {.ready})`:                       runbooks.Errors,
		`len(filter(models, .ready)) == 1`:            runbooks.Answers,
		`"b" in map(models, .id)`:                     runbooks.Answers,
		`find(models, .id == "b").ready == false`:     runbooks.Answers,
		`count(models, .ready) == 1 and load < 1`:     runbooks.Answers,
		`reduce(models, #acc + len(.id), 0) == 2`:     runbooks.Answers,
		`sortBy(models, .id)[0].id == "a"`:            runbooks.Answers,
		`status matches "^o" ? load > 0 : load > 0.9`: runbooks.Answers,
		`any(models, any(models, .id == "a"))`:        runbooks.Answers,
		`status`:                                      runbooks.Errors,
		`unknown.field == 1`:                          runbooks.Errors,
		`unknown?.field == nil`:                       runbooks.Answers,
	} {
		got := httpprobe.New().Probe(t.Context(), probe.Request{
			URL: server.URL, Health: runbooks.Health{Ready: ready, Timeout: runbooks.Duration(5 * time.Second)},
		})
		if got.Finding != want {
			t.Errorf("%s: %q (%s), want %q", ready, got.Finding, got.Detail, want)
		}
	}
}
