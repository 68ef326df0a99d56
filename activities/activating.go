package activities

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/activities/secrets"
	"github.com/understudy-dr/understudy/runbooks"
)

// callWithin bounds one call to a standby. It wakes the standby; waiting until
// it serves is another step.
const callWithin = 10 * time.Second

// saidMost is how much of an answer is read, in bytes.
const saidMost = 1 << 10

// standbyCalls follows no redirects: a call goes where the runbook says.
var standbyCalls = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// CallStandbyInput makes a resting standby serve, or puts it to rest again.
type CallStandbyInput struct {
	Effect
	Target runbooks.Target `json:"target"`
	Method string          `json:"method"`
	// Call is a path at the standby, or a URL; {epoch} stands for the epoch, {from} for that of the data so far.
	Call string `json:"call"`
	From int64  `json:"from,omitempty"`
	// Token is the reference to what the call bears.
	Token runbooks.Secret `json:"token,omitzero"`
}

// CallStandbyResult is a call that was taken.
type CallStandbyResult struct {
	Timing
	// Pace is how long the standby's steps took before.
	Pace []reports.Pace `json:"pace,omitempty"`
	// Said is the first line of the answer, where it is text for people.
	Said string `json:"said,omitempty"`
}

// CallStandby makes one call. The standby must take it twice: an answer may be
// lost, and the call is then repeated. An answer of 4xx is a refusal.
func (a *Activities) CallStandby(ctx context.Context, in CallStandbyInput) (CallStandbyResult, error) {
	t := CallStandbyResult{Timing: begin()}
	defer heartbeat(ctx)()
	ctx, cancel := bounded(ctx, in.Effect)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, callWithin)
	defer cancel()
	call := strings.NewReplacer(runbooks.EpochMark, strconv.FormatInt(in.Epoch, 10), runbooks.FromMark, strconv.FormatInt(in.From, 10)).Replace(in.Call)
	if strings.HasPrefix(call, "/") {
		call = strings.TrimSuffix(in.Target.URL, "/") + call
	}
	if err := a.effects.still(in.Effect); err != nil {
		return t, classify(err)
	}
	request, err := http.NewRequestWithContext(ctx, in.Method, call, http.NoBody)
	if err != nil {
		return t, classify(fmt.Errorf("%w: %v", errCallRefused, err))
	}
	request.Header.Set("Idempotency-Key", in.Key)
	if !in.Token.IsZero() {
		token, err := secrets.Resolve(in.Token)
		if err != nil {
			return t, classify(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := standbyCalls.Do(request)
	if err != nil {
		return t, classify(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(answer.Body, saidMost))
	switch {
	case answer.StatusCode < 300:
		t.Timing = t.Timing.end()
		if strings.HasPrefix(answer.Header.Get("Content-Type"), "text/plain") {
			line, _, _ := strings.Cut(string(body), "\n")
			t.Said = probe.Printable(line, saidMost)
		}
		t.Pace = a.pace(ctx, in.Service, in.Target.Name)
		return t, nil
	case answer.StatusCode < 500:
		return t, classify(fmt.Errorf("%w: HTTP %d: %s", errCallRefused, answer.StatusCode, strings.TrimSpace(string(body))))
	default:
		return t, classify(fmt.Errorf("%s %s: HTTP %d: %s", in.Method, call, answer.StatusCode, strings.TrimSpace(string(body))))
	}
}
