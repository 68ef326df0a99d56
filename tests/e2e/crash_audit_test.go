package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/understudy-dr/understudy/activities/epoch/s3store"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

// crashSteps are those of a recovery that went well, in their order, with a
// standby that is held or one to which HAProxy moves by itself.
func (s *crashScene) steps() []string {
	switch {
	case s.options.Cloud:
		return []string{"diagnose", "gate hot", "claim cold", "check cold", "provision cold", "boot cold", "load cold", "gate cold", "prove cold", "cut over cold", "verify cold", "fence host primary", "settle cold"}
	case s.options.Cold:
		return []string{"diagnose", "gate hot", "claim cold", "check cold", "mount cold", "restore cold", "provision cold", "boot cold", "load cold", "gate cold", "prove cold", "cut over cold", "verify cold", "fence host primary", "settle cold"}
	case !s.options.Held:
		return []string{"diagnose", "gate hot", "cut over hot", "verify hot", "fence host primary", "settle hot"}
	case s.options.Required:
		return []string{"diagnose", "fence host primary", "gate hot", "prove hot", "cut over hot", "verify hot", "settle hot"}
	default:
		return []string{"diagnose", "gate hot", "prove hot", "cut over hot", "verify hot", "fence host primary", "settle hot"}
	}
}

// verdict is what a diagnosis finds in this scene.
func (s *crashScene) verdict() string {
	if s.options.dead() {
		return string(runbooks.Dead)
	}
	return string(runbooks.Hung)
}

// standby is the tier that takes the traffic.
func (s *crashScene) standby() string {
	if s.options.Cold {
		return runbooks.TierCold
	}
	return runbooks.TierHot
}

// finished waits for the end of the one recovery, of its announcement and of
// what its guard does about it, and returns its report.
func (s *crashScene) finished(t *testing.T) workflows.Report {
	t.Helper()
	engine := s.dial(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var r workflows.Report
	eventually(t, func(ctx context.Context) error {
		return engine.GetWorkflow(ctx, workflows.RecoveryID("fun-asr", 1), "").Get(ctx, &r)
	})
	guard(t, s.Understudy, func(g workflows.GuardState) bool { return atRest(g) && g.Last != nil })
	if err := engine.GetWorkflow(ctx, workflows.AnnouncementID("fun-asr", "1"), "").Get(ctx, nil); err != nil {
		t.Fatalf("the announcement: %v", err)
	}
	return r
}

// audit checks that the crash has changed nothing about what came of the recovery.
func (s *crashScene) audit(t *testing.T, r workflows.Report) {
	t.Helper()
	wantOutcome(t, r, workflows.OutcomeRecovered, s.verdict())
	if r.Epoch != 1 || r.Active != s.standby() || !r.Committed || r.Lost != "" {
		t.Errorf("epoch %d, active %s, committed %v, lost %q", r.Epoch, r.Active, r.Committed, r.Lost)
	}
	if s.options.Cold {
		s.auditMachine(t)
	} else {
		servers(t, s.Scene, "MAINT", "UP")
	}
	s.auditTimeline(t, r)
	s.auditReports(t, r)
	s.auditEpoch(t)
	s.auditFence(t)
	s.auditSlack(t, r)
	s.auditEngine(t)
}

// auditTimeline wants every step once, ended after it began, in order, and a
// recovery time whose parts add up to it.
func (s *crashScene) auditTimeline(t *testing.T, r workflows.Report) {
	t.Helper()
	var steps []string
	var before, verified time.Time
	for _, rec := range r.Timeline {
		step := strings.TrimSpace(rec.Step + " " + rec.Tier)
		steps = append(steps, step)
		state := workflows.Done
		if s.options.Cold && step == "gate hot" {
			state = workflows.Refused // it is dead
		}
		if rec.State != state || rec.Started.IsZero() || rec.Ended.Before(rec.Started) {
			t.Errorf("%s is %s, from %s to %s: %s", step, rec.State, rec.Started, rec.Ended, rec.Reason)
		}
		// Running standbys are asked together with the diagnosis, and data is restored while volumes are mounted.
		if rec.Step != runbooks.StepGate && rec.Step != runbooks.StepRestore && rec.Started.Before(before) {
			t.Errorf("%s began at %s, before the step above it had ended at %s", step, rec.Started, before)
		}
		before = rec.Ended
		if rec.Step == runbooks.StepVerify {
			verified = rec.Ended
		}
	}
	if !slices.Equal(steps, s.steps()) {
		t.Errorf("the timeline has %q, not %q\n%s", steps, s.steps(), r.Markdown())
	}
	sum := 0.0
	for _, part := range r.Breakdown {
		sum += part.Seconds
	}
	since := r.Trigger.OutageSince
	if whole := verified.Sub(since).Seconds(); math.Abs(sum-whole) > 1e-6 {
		t.Errorf("the parts of the recovery time add up to %.6f s, not %.6f s: %+v", sum, whole, r.Breakdown)
	}
	if whole := r.Verified.Sub(since).Seconds(); math.Abs(r.RTOSeconds-whole) > 1e-6 || r.Verified.After(verified) {
		t.Errorf("the recovery time is %.6f s, not %.6f s; verified at %s", r.RTOSeconds, whole, r.Verified)
	}
}

// auditReports wants one report, which says what the engine says.
func (s *crashScene) auditReports(t *testing.T, r workflows.Report) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	all, err := recoveries(ctx, s.Understudy)
	if err != nil || len(all) != 1 || all[0].Outcome != r.Outcome || all[0].Epoch != 1 {
		t.Errorf("recoveries: %+v, %v", all, err)
	}
	if kept := report(t, s.Understudy, "fun-asr-1"); kept.Markdown() != r.Markdown() {
		t.Errorf("the report on disk is not the engine's:\n%s\n%s", kept.Markdown(), r.Markdown())
	}
}

// auditEpoch wants the record of this recovery, saying where the service runs.
func (s *crashScene) auditEpoch(t *testing.T) {
	t.Helper()
	at, err := s3client.ParseURL(s.epochs)
	if err != nil {
		t.Fatal(err)
	}
	api, err := s.store.Clients().For(at.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	record, err := s3store.New(api, at).Read(ctx, "fun-asr")
	if err != nil || record.Epoch != 1 || record.Active != s.standby() || !strings.HasPrefix(record.Holder, workflows.RecoveryID("fun-asr", 1)+" @ ") {
		t.Errorf("the epoch store holds %+v, %v", record, err)
	}
}

// auditFence wants the primary off. A request for it that was carried out is
// never sent again: the confirmation is looked at first.
func (s *crashScene) auditFence(t *testing.T) {
	t.Helper()
	want := int64(1)
	if s.options.dead() {
		want = 0 // the primary is dead already, which is seen before anything is sent
	}
	if n := s.fenced.Load(); n != want {
		t.Errorf("the fence was set %d times, not %d", n, want)
	}
	select {
	case <-s.Primary.Done():
	default:
		t.Error("the primary lives")
	}
}

// auditSlack wants one message with the final state, and each line once in its thread.
func (s *crashScene) auditSlack(t *testing.T, r workflows.Report) {
	t.Helper()
	messages, keys := 0, map[any]int{}
	for _, m := range s.Slack.Messages("asr-oncall") {
		if s.engine != nil && strings.Contains(fmt.Sprint(m.Metadata.EventPayload), "pager/") {
			continue // people are told that the engine is away
		}
		if m.ThreadTimestamp == "" || m.ThreadTimestamp == m.Timestamp {
			messages++
		}
		for _, key := range m.Metadata.EventPayload {
			keys[key]++
		}
	}
	for key, n := range keys {
		if n > 1 {
			t.Errorf("Slack shows %v %d times", key, n)
		}
	}
	text := s.Slack.Transcript()
	if messages != 1 || !strings.Contains(text, "fun-asr: recovered ") {
		t.Errorf("Slack shows %d messages:\n%s", messages, text)
	}
	for _, rec := range r.Timeline {
		line := fmt.Sprintf("> %s %s", rec.Started.UTC().Format("15:04:05.000"), rec.Step)
		if n := strings.Count(text, line); n != 1 {
			t.Errorf("the thread has %q %d times:\n%s", line, n, text)
		}
	}
}

// auditEngine wants one recovery ever started, and no workflow whose code failed
// when it was replayed.
func (s *crashScene) auditEngine(t *testing.T) {
	t.Helper()
	engine := s.dial(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var gone *serviceerror.NotFound
	if _, err := engine.DescribeWorkflowExecution(ctx, workflows.RecoveryID("fun-asr", 2), ""); !errors.As(err, &gone) {
		t.Errorf("a second recovery was started: %v", err)
	}
	eventually(t, func(ctx context.Context) error {
		counted, err := engine.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
			Namespace: harness.EngineNamespace, Query: "WorkflowType = 'Recovery'",
		})
		if err == nil && counted.GetCount() != 1 {
			err = fmt.Errorf("the engine lists %d recoveries", counted.GetCount())
		}
		return err
	})
	for _, id := range []string{workflows.GuardID("fun-asr"), workflows.RecoveryID("fun-asr", 1), workflows.AnnouncementID("fun-asr", "1")} {
		events := engine.GetWorkflowHistory(ctx, id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			event, err := events.Next()
			if err != nil {
				t.Fatal(err)
			}
			if failed := event.GetWorkflowTaskFailedEventAttributes(); failed != nil {
				t.Errorf("a task of %s failed: %s: %s", id, failed.GetCause(), failed.GetFailure().GetMessage())
			}
		}
	}
}

// redeliver posts the alert once more, as Alertmanager does while it fires, and
// wants the guard to take it and to start nothing.
func (s *crashScene) redeliver(t *testing.T, since time.Time) {
	t.Helper()
	before := guard(t, s.Understudy, atRest)
	if status := alert(t, s.Understudy, "firing", since); status != 200 {
		t.Fatalf("the alert that came again was answered with %d", status)
	}
	after := guard(t, s.Understudy, func(g workflows.GuardState) bool {
		return atRest(g) && len(g.Decisions) > len(before.Decisions)
	})
	last := after.Decisions[len(after.Decisions)-1]
	if after.Epoch != 1 || last.Action != workflows.Ignore || !strings.Contains(last.Reason, "recovery 1 has answered this alert") {
		t.Errorf("an alert that came again: epoch %d, %s because %s", after.Epoch, last.Action, last.Reason)
	}
}

// dial connects to the engine that does the work.
func (s *crashScene) dial(t *testing.T) client.Client {
	t.Helper()
	keys := s.Understudy.Keys()
	if s.engine != nil {
		keys = s.engine.Keys
	}
	pair, err := tls.LoadX509KeyPair(keys.Cert, keys.Key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(keys.Cert)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := client.DialContext(ctx, client.Options{
		HostPort: keys.Address, Namespace: harness.EngineNamespace, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
		ConnectionOptions: client.ConnectionOptions{TLS: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ServerName: harness.EngineName}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
