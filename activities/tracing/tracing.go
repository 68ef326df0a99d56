// Package tracing exports each recovery as one trace: the whole from the
// beginning of the outage, and a span for each step of its timeline.
//
// The trace is the one that the trigger began: the webhook's or the button's
// traceparent. Probes and canaries carry the same one, so that what a standby
// records about them stands in the same trace. A trace is made from the report,
// when a recovery has ended: its times are the measured ones, its ids follow from
// the recovery, so that a report that is written twice makes no second trace, and
// nothing of it is in the way while a service is down.
package tracing

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// scope names the spans' origin.
const scope = "github.com/understudy-dr/understudy"

// Exporter exports reports as traces.
type Exporter struct{ provider *sdktrace.TracerProvider }

// report is what is read of a recovery's report.
type report struct {
	Recovery string `json:"recovery"`
	Service  string `json:"service"`
	Epoch    int64  `json:"epoch"`
	Mode     string `json:"mode"`
	Outcome  string `json:"outcome"`
	Reason   string `json:"reason"`
	Verdict  string `json:"verdict"`
	Tier     string `json:"tier"`
	Active   string `json:"active"`
	Trigger  struct {
		Kind        string    `json:"kind"`
		OutageSince time.Time `json:"outage_since"`
		TraceParent string    `json:"trace_parent"`
	} `json:"trigger"`
	Started    time.Time `json:"started"`
	Ended      time.Time `json:"ended"`
	RTOSeconds float64   `json:"rto_seconds"`
	Timeline   []struct {
		Step    string    `json:"step"`
		Tier    string    `json:"tier"`
		State   string    `json:"state"`
		Reason  string    `json:"reason"`
		Started time.Time `json:"started"`
		Ended   time.Time `json:"ended"`
	} `json:"timeline"`
}

// FromEnvironment makes an exporter from OpenTelemetry's standard variables
// (OTEL_EXPORTER_OTLP_ENDPOINT, or ..._TRACES_ENDPOINT, and their sisters for
// headers and certificates), over HTTP. It is nil where neither is set.
func FromEnvironment(ctx context.Context, version string) (*Exporter, error) {
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return nil, nil
	}
	client, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("export traces as OTEL_EXPORTER_OTLP_ENDPOINT says: %w", err)
	}
	about, err := resource.Merge(resource.Default(), resource.NewSchemaless(attribute.String("service.name", "understudy"), attribute.String("service.version", version)))
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("describe this program in traces: %w", err)
	}
	return &Exporter{sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(client), sdktrace.WithResource(about), sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithIDGenerator(derived{}),
	)}, nil
}

// Export hands over the trace of a report in JSON. It does not wait for the
// collector, and what is no report is left out. A nil exporter does nothing.
func (e *Exporter) Export(content []byte) {
	var r report
	if e == nil || json.Unmarshal(content, &r) != nil || r.Recovery == "" || r.Started.IsZero() || r.Ended.IsZero() {
		return
	}
	tracer := e.provider.Tracer(scope)
	began := r.Started
	if since := r.Trigger.OutageSince; !since.IsZero() && since.Before(began) {
		began = since
	}
	ctx := context.WithValue(context.Background(), key{}, r.Recovery)
	ctx = trace.ContextWithRemoteSpanContext(ctx, parent(r.Trigger.TraceParent))
	ctx, whole := tracer.Start(ctx, r.Mode+" recovery of "+r.Service, trace.WithTimestamp(began), trace.WithAttributes(
		attribute.String("understudy.service", r.Service), attribute.Int64("understudy.epoch", r.Epoch), attribute.String("understudy.mode", r.Mode),
		attribute.String("understudy.trigger", r.Trigger.Kind), attribute.String("understudy.verdict", r.Verdict), attribute.String("understudy.outcome", r.Outcome),
		attribute.String("understudy.tier", r.Tier), attribute.String("understudy.active", r.Active), attribute.Float64("understudy.rto_seconds", r.RTOSeconds),
	))
	for i, step := range r.Timeline {
		ended := step.Ended
		if ended.IsZero() || ended.Before(step.Started) {
			ended = step.Started
		}
		name := step.Step
		if step.Tier != "" {
			name += " " + step.Tier
		}
		_, span := tracer.Start(context.WithValue(ctx, key{}, fmt.Sprintf("%s/%d", r.Recovery, i)), name, trace.WithTimestamp(step.Started), trace.WithAttributes(
			attribute.String("understudy.step", step.Step), attribute.String("understudy.tier", step.Tier), attribute.String("understudy.state", step.State), attribute.String("understudy.reason", step.Reason),
		))
		if step.State == "failed" || step.State == "refused" {
			span.SetStatus(codes.Error, step.Reason)
		}
		span.End(trace.WithTimestamp(ended))
	}
	if r.Outcome == "failed" {
		whole.SetStatus(codes.Error, r.Reason)
	}
	whole.End(trace.WithTimestamp(r.Ended))
}

// Close hands over what is left, until the context ends.
func (e *Exporter) Close(ctx context.Context) error {
	if e == nil {
		return nil
	}
	return e.provider.Shutdown(ctx)
}

// parent reads a W3C traceparent; an invalid one begins a trace of its own.
func parent(text string) trace.SpanContext {
	var version, flags byte
	var traceID, spanID string
	if n, err := fmt.Sscanf(text, "%02x-%32s", &version, &traceID); n != 2 || err != nil || len(text) != 55 {
		return trace.SpanContext{}
	}
	traceID, spanID = text[3:35], text[36:52]
	if _, err := fmt.Sscanf(text[53:], "%02x", &flags); err != nil {
		return trace.SpanContext{}
	}
	of, err := trace.TraceIDFromHex(traceID)
	in, err2 := trace.SpanIDFromHex(spanID)
	if errors.Join(err, err2) != nil {
		return trace.SpanContext{}
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: of, SpanID: in, TraceFlags: trace.TraceFlags(flags), Remote: true})
}

// key is where the name that ids follow from is found.
type key struct{}

// derived makes ids that follow from the recovery.
type derived struct{}

// NewIDs makes the ids of a trace that nobody has begun.
func (d derived) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	sum := sha256.Sum256(fmt.Appendf(nil, "trace of %v", ctx.Value(key{})))
	return trace.TraceID(sum[:16]), d.NewSpanID(ctx, trace.TraceID(sum[:16]))
}

// NewSpanID makes the id of a span.
func (derived) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	sum := sha256.Sum256(fmt.Appendf(nil, "span of %v", ctx.Value(key{})))
	return trace.SpanID(sum[:8])
}
