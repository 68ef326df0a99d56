package speech

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

// DefaultCanaryTimeout bounds a canary that names no time.
const DefaultCanaryTimeout = 20 * time.Second

// CanaryRunner sends canaries: real inferences with a known answer.
type CanaryRunner struct{ client Client }

// NewCanaryRunner makes a runner.
func NewCanaryRunner(client Client) *CanaryRunner { return &CanaryRunner{client: client} }

// CanaryRequest is one canary for one instance.
type CanaryRequest struct {
	Canary runbooks.Canary
	// URL is the base URL of the instance, or of the front door.
	URL string
	// Audio is what a transcribing canary sends.
	Audio Audio
	// TraceParent is sent as the W3C header of that name; empty sends none.
	TraceParent string
}

// Outcome is what a canary showed.
type Outcome struct {
	// Finding is Answers, Incorrect, Errors, Silent, Refuses or Unreachable; Blind where the canary could not be
	// sent or judged for reasons that are not the instance's.
	Finding runbooks.Finding
	// Detail explains it to a person.
	Detail string
	// Heard is the transcript, of the canary's audio or of what the instance spoke.
	Heard string
	// WER is the word error rate of what was heard.
	WER float64
	// Took is how long it all lasted.
	Took time.Duration
}

// Run sends one canary and judges the answer. It blocks for at most the canary's
// timeout, twice that where somebody listens to synthesized audio. It never
// fails: what went wrong is the finding, and a cancelled context is Blind.
func (c *CanaryRunner) Run(ctx context.Context, r CanaryRequest) Outcome {
	began := time.Now()
	var out Outcome
	switch {
	case r.Canary.Transcribe != nil:
		out = c.transcribe(ctx, r, *r.Canary.Transcribe)
	case r.Canary.Synthesize != nil:
		out = c.synthesize(ctx, r, *r.Canary.Synthesize)
	default:
		out = Outcome{Finding: runbooks.Blind, Detail: "the runbook's canary says neither transcribe nor synthesize"}
	}
	if isOver(ctx) && out.Finding != runbooks.Answers && out.Finding != runbooks.Incorrect {
		out = Outcome{Finding: runbooks.Blind, Detail: "our own canary was broken off before its time"}
	}
	out.Took = time.Since(began)
	return out
}

func (c *CanaryRunner) transcribe(ctx context.Context, r CanaryRequest, t runbooks.Transcribe) Outcome {
	if len(r.Audio.Bytes) == 0 {
		return Outcome{Finding: runbooks.Blind, Detail: "the canary's audio " + t.Audio + " is missing or empty"}
	}
	began := time.Now()
	heard, err := c.client.Transcribe(ctx, TranscribeRequest{
		URL: r.URL, Dialect: t.Dialect, Path: t.Path, Model: t.Model, Language: t.Language, Hotwords: t.Hotwords,
		Audio: r.Audio, Timeout: timeout(r), TraceParent: r.TraceParent,
	})
	if err != nil {
		return failed(err)
	}
	out := Outcome{Finding: runbooks.Answers, Heard: heard.Text}
	out.WER, err = CheckTranscript(t.Expect, heard.Text, t.MaxWER)
	if err != nil {
		out.Finding, out.Detail = runbooks.Incorrect, err.Error()
		return out
	}
	out.Detail = fmt.Sprintf("heard %q in %s", quote(heard.Text), time.Since(began).Round(time.Millisecond))
	return out
}

func (c *CanaryRunner) synthesize(ctx context.Context, r CanaryRequest, s runbooks.Synthesize) Outcome {
	began := time.Now()
	audio, err := c.client.Synthesize(ctx, SynthesizeRequest{URL: r.URL, Say: s, Timeout: timeout(r), TraceParent: r.TraceParent})
	if err != nil {
		return failed(err)
	}
	took := time.Since(began).Round(time.Millisecond)
	sound, err := Inspect(audio.Bytes)
	switch {
	case err != nil:
		return Outcome{Finding: runbooks.Incorrect, Detail: quote(err.Error())}
	case sound.Measured && sound.Audible < s.MinSeconds:
		return Outcome{Finding: runbooks.Incorrect, Detail: fmt.Sprintf("expected at least %.3gs of sound, got %.3gs in %.3gs of audio", s.MinSeconds, sound.Audible, sound.Seconds)}
	case sound.Measured && sound.Audible == 0:
		return Outcome{Finding: runbooks.Incorrect, Detail: fmt.Sprintf("%.3gs of silence", sound.Seconds)}
	}
	spoke := fmt.Sprintf("spoke for %.3gs in %s", sound.Audible, took)
	if !sound.Measured {
		spoke = fmt.Sprintf("sent %d bytes of audio in %s", len(audio.Bytes), took)
	}
	if s.TranscribeBack == "" {
		return Outcome{Finding: runbooks.Answers, Detail: spoke}
	}
	return c.listen(ctx, r, s, audio, spoke)
}

// listen has somebody else write down what the instance spoke. If nobody can
// listen, that is not the instance's fault, but no proof either.
func (c *CanaryRunner) listen(ctx context.Context, r CanaryRequest, s runbooks.Synthesize, audio Audio, spoke string) Outcome {
	heard, err := c.client.Transcribe(ctx, TranscribeRequest{URL: s.TranscribeBack, Audio: audio, Timeout: timeout(r), TraceParent: r.TraceParent})
	if err != nil {
		return Outcome{Finding: runbooks.Blind, Detail: fmt.Sprintf("it %s, but nobody could listen: %v", spoke, err)}
	}
	out := Outcome{Finding: runbooks.Answers, Heard: heard.Text, Detail: fmt.Sprintf("%s, heard as %q", spoke, quote(heard.Text))}
	out.WER, err = CheckTranscript(s.Expect, heard.Text, s.MaxWER)
	if err != nil {
		out.Finding, out.Detail = runbooks.Incorrect, err.Error()
	}
	return out
}

func failed(err error) Outcome { return Outcome{Finding: findingOf(err), Detail: err.Error()} }

func timeout(r CanaryRequest) time.Duration { return r.Canary.Timeout.Or(DefaultCanaryTimeout) }

// isOver reports whether the caller wants no more. The network may notice the
// context's deadline before the context does.
func isOver(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return errors.Is(ctx.Err(), context.Canceled) || ok && !time.Now().Before(deadline)
}
