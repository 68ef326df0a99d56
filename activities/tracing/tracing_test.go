package tracing_test

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	v1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-dr/understudy/activities/tracing"
)

const written = `{
 "recovery": "recovery/fun-asr/7", "service": "fun-asr", "epoch": 7, "mode": "live", "outcome": "recovered", "verdict": "Dead", "tier": "hot", "active": "hot", "rto_seconds": 2.5,
 "trigger": {"kind": "alert", "outage_since": "2026-11-21T03:00:00Z", "trace_parent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
 "started": "2026-11-21T03:00:02Z", "ended": "2026-11-21T03:00:09Z",
 "timeline": [
  {"step": "diagnose", "state": "done", "reason": "Dead", "started": "2026-11-21T03:00:02Z", "ended": "2026-11-21T03:00:02.1Z"},
  {"step": "gate", "tier": "warm", "state": "refused", "reason": "expected 2512.1, got 2511.0", "started": "2026-11-21T03:00:02.1Z"},
  {"step": "settle", "tier": "hot", "state": "done", "reason": "committed", "started": "2026-11-21T03:00:03Z", "ended": "2026-11-21T03:00:09Z"}
 ]}`

// exported runs a collector, and returns the spans that it was sent.
func exported(t *testing.T, reports ...string) (spans []*v1.Span) {
	t.Helper()
	got := make(chan []byte, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- body
	}))
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	e, err := tracing.FromEnvironment(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range reports {
		e.Export([]byte(r))
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(got)
	for body := range got {
		var request collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &request); err != nil {
			t.Fatal(err)
		}
		for _, resource := range request.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				spans = append(spans, scope.Spans...)
			}
		}
	}
	return spans
}

func TestATraceOfARecovery(t *testing.T) {
	spans := exported(t, written)
	if len(spans) != 4 {
		t.Fatalf("%d spans", len(spans))
	}
	whole := spans[3]
	if hex.EncodeToString(whole.TraceId) != "0af7651916cd43dd8448eb211c80319c" || hex.EncodeToString(whole.ParentSpanId) != "b7ad6b7169203331" || whole.Name != "live recovery of fun-asr" {
		t.Errorf("the whole: %v", whole)
	}
	if took := time.Duration(whole.EndTimeUnixNano - whole.StartTimeUnixNano); took != 9*time.Second {
		t.Errorf("it took %s, from the beginning of the outage", took)
	}
	for i, want := range []string{"diagnose", "gate warm", "settle hot"} {
		if s := spans[i]; s.Name != want || string(s.ParentSpanId) != string(whole.SpanId) || string(s.TraceId) != string(whole.TraceId) || s.EndTimeUnixNano < s.StartTimeUnixNano {
			t.Errorf("%s: %v", want, s)
		}
	}
	if spans[1].Status.GetCode() != v1.Status_STATUS_CODE_ERROR || spans[1].Status.Message != "expected 2512.1, got 2511.0" {
		t.Errorf("the refusal: %v", spans[1].Status)
	}
	// Written twice, it is the same trace, with the same spans.
	again := exported(t, written)
	for i := range spans {
		if string(spans[i].SpanId) != string(again[i].SpanId) {
			t.Errorf("span %d has another id", i)
		}
	}
}

func TestWhatIsNoReport(t *testing.T) {
	if spans := exported(t, "", "{}", `{"recovery": "x"}`, "# a page"); len(spans) != 0 {
		t.Errorf("%d spans", len(spans))
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	e, err := tracing.FromEnvironment(t.Context(), "test")
	if e != nil || err != nil {
		t.Fatal(e, err)
	}
	e.Export([]byte(written))
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A trigger without a trace, or with one that is none, begins one.
func TestATraceOfItsOwn(t *testing.T) {
	for _, parent := range []string{"", "00-zz", "00-00000000000000000000000000000000-b7ad6b7169203331-01"} {
		text := `{"recovery": "recovery/a/1", "service": "a", "started": "2026-11-21T03:00:02Z", "ended": "2026-11-21T03:00:09Z", "trigger": {"trace_parent": "` + parent + `"}}`
		if spans := exported(t, text); len(spans) != 1 || len(spans[0].ParentSpanId) != 0 || hex.EncodeToString(spans[0].TraceId) == "00000000000000000000000000000000" {
			t.Errorf("%q: %v", parent, spans)
		}
	}
}
