package activities

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/speech"
	"github.com/understudy-dr/understudy/runbooks"
)

// ProveInput asks for a real inference at a base URL: an instance's own, or the
// front door's.
type ProveInput struct {
	Service string           `json:"service"`
	URL     string           `json:"url"`
	Canary  *runbooks.Canary `json:"canary,omitempty"`
	Health  runbooks.Health  `json:"health"`
	// Until is how long to go on trying after a failure; zero tries once. The front door may need a moment.
	Until time.Time `json:"until,omitzero"`
	// TraceParent joins the probe to the trigger's trace.
	TraceParent string `json:"trace_parent,omitempty"`
}

// Proof is what the inference showed.
type Proof struct {
	Timing
	Passed bool `json:"passed"`
	// Observation words it as evidence.
	Observation runbooks.Observation `json:"observation"`
	// Tries counts the attempts.
	Tries int `json:"tries"`
	// Answered is when the passing answer was there.
	Answered time.Time `json:"answered,omitzero"`
}

// lastCanary is what a canary gets at least, also where the time is over.
const lastCanary = 2 * time.Second

// Prove sends the canary; a service without one is asked for its health. A
// wrong answer is final at once: trying again until one is right would prove
// nothing. It changes nothing and heartbeats while it waits.
func (a *Activities) Prove(ctx context.Context, in ProveInput) (Proof, error) {
	p := Proof{Timing: begin()}
	stop := heartbeat(ctx)
	defer stop()
	whole := ctx
	if left := time.Until(in.Until); !in.Until.IsZero() {
		// A canary that is let wait longer than the tier has time would take a standby off that was only slow to start.
		bounded, cancel := context.WithTimeout(ctx, max(left, lastCanary))
		defer cancel()
		ctx = bounded
	}
	for {
		p.Tries++
		p.Observation = a.proveOnce(ctx, in)
		p.Passed = p.Observation.Finding == runbooks.Answers
		if p.Passed {
			p.Answered = time.Now()
		}
		if p.Passed || p.Observation.Finding == runbooks.Incorrect || !time.Now().Before(in.Until) {
			break
		}
		select {
		case <-whole.Done():
			return p, whole.Err()
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
			continue
		}
		break
	}
	p.Timing = p.Timing.end()
	return p, nil
}

func (a *Activities) proveOnce(ctx context.Context, in ProveInput) runbooks.Observation {
	o := runbooks.Observation{Domain: runbooks.ByProbe, At: time.Now()}
	if in.Canary == nil {
		seen := a.Prober.Probe(ctx, probe.Request{URL: in.URL, Health: in.Health})
		o.Finding, o.Detail = seen.Finding, "health "+seen.Detail
		if o.Finding == runbooks.Slow {
			o.Finding = runbooks.Answers
		}
		return o
	}
	var audio speech.Audio
	if t := in.Canary.Transcribe; t != nil {
		content, err := a.Files.Read(ctx, t.Audio)
		if err != nil {
			o.Finding, o.Detail = runbooks.Blind, fmt.Sprintf("the canary's audio cannot be read: %v", err)
			return o
		}
		audio = speech.Audio{Name: t.Audio, Bytes: content}
	}
	outcome := a.Canaries.Run(ctx, speech.CanaryRequest{Canary: *in.Canary, URL: in.URL, Audio: audio, TraceParent: in.TraceParent})
	o.Finding, o.Detail = outcome.Finding, outcome.Detail
	return o
}
