package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/understudy-dr/understudy/activities/epoch"
	"github.com/understudy-dr/understudy/activities/epoch/s3store"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/site/stage"
	"github.com/understudy-dr/understudy/workflows"
)

// fire tells of an outage that begins now.
func (p *play) fire() {
	p.since = time.Now()
	p.alert("firing")
}

// alert posts a webhook about the latest outage, as Alertmanager does.
func (p *play) alert(status string) {
	p.do(func(ctx context.Context) error {
		return p.post(ctx, map[string]any{"version": "4", "status": status, "receiver": "understudy", "alerts": []any{map[string]any{
			"status": status, "fingerprint": "f1", "startsAt": p.since.Format(time.RFC3339Nano), "endsAt": "0001-01-01T00:00:00Z",
			"labels":      map[string]string{"alertname": "SpeechServiceDown", "service": p.Runbook.Service},
			"annotations": map[string]string{"summary": "it cannot be scraped"},
		}}})
	})
}

// post sends a webhook.
func (p *play) post(ctx context.Context, hook map[string]any) error {
	body, err := json.Marshal(hook)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Understudy.URL+"/api/v1/alerts", bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the webhook was answered with %s: %s", response.Status, answer)
	}
	return nil
}

// kill ends a part at once.
func (p *play) kill(part *harness.Process) {
	p.do(func(context.Context) error { part.Kill(); return nil })
}

// restart starts a part that was killed again.
func (p *play) restart(part interface{ Restart(context.Context) error }) { p.do(part.Restart) }

// movedAway waits until HAProxy has moved by itself.
func (p *play) movedAway() {
	p.do(func(ctx context.Context) error {
		return until(ctx, func(ctx context.Context) error {
			shown, err := p.Servers(ctx)
			if err == nil && !strings.HasPrefix(shown["primary"], "DOWN") {
				err = fmt.Errorf("HAProxy shows %v", shown)
			}
			return err
		})
	})
}

// suffer begins a fault at a speech server.
func (p *play) suffer(s *harness.Site, fault stage.Fault) {
	p.do(func(ctx context.Context) error { return s.Fault(ctx, fault) })
}

// order is an update that somebody sends to a workflow; a repeated id is the same order again.
func (p *play) order(workflowID, name, id string, arg any) {
	p.do(func(ctx context.Context) error {
		var args []any
		if arg != nil {
			args = append(args, arg)
		}
		sent, err := p.engine.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
			UpdateID: id, WorkflowID: workflowID, UpdateName: name, Args: args, WaitForStage: client.WorkflowUpdateStageCompleted,
		})
		if err != nil {
			return err
		}
		return sent.Get(ctx, nil)
	})
}

// trigger has a schedule act at once. Understudy makes its schedules a moment after it is ready.
func (p *play) trigger(id string) {
	p.do(func(ctx context.Context) error {
		return until(ctx, func(ctx context.Context) error {
			return p.engine.ScheduleClient().GetHandle(ctx, id).Trigger(ctx, client.ScheduleTriggerOptions{})
		})
	})
}

// abort stops the recovery that newest waited for.
func (p *play) abort() {
	p.order(p.latest.Recovery, workflows.AbortUpdateName, "", workflows.AbortUpdate{By: somebody, Reason: "enough"})
	p.outcome(workflows.OutcomeAborted)
}

// answer answers the question that newest waited for.
func (p *play) answer(answer string) {
	if p.err == nil {
		p.order(p.latest.Recovery, workflows.AnswerUpdateName, "", workflows.AnswerUpdate{
			By: somebody, Question: p.latest.Question.ID, Plan: p.latest.Question.Plan, Answer: answer,
		})
	}
}

// balancer has HAProxy do something, as an operator at its socket does.
func (p *play) balancer(command string) {
	p.do(func(ctx context.Context) error {
		said, err := p.HAProxy.Command(ctx, command)
		if err == nil && strings.TrimSpace(said) != "" {
			err = fmt.Errorf("HAProxy says to %q: %s", command, said)
		}
		return err
	})
}

// powerStrip turns the primary off on demand, after it has refused a number of times.
func (p *play) powerStrip(refuses int) (url string) {
	strip := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if refuses--; refuses >= 0 {
			http.Error(w, "stuck", http.StatusConflict)
			return
		}
		p.Primary.Kill()
	}))
	p.atEnd(strip.Close)
	return strip.URL
}

// power turns the primary off and on.
func (p *play) power() (url string) {
	power := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stop" {
			p.Primary.Kill()
			return
		}
		if err := p.Primary.Restart(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	p.atEnd(power.Close)
	return power.URL
}

// sign posts a sign of life of the site.
func (p *play) sign() {
	p.do(func(ctx context.Context) error {
		return p.post(ctx, map[string]any{"version": "4", "status": "firing", "alerts": []any{map[string]any{
			"status": "firing", "fingerprint": "w", "startsAt": time.Now().Format(time.RFC3339Nano), "labels": map[string]string{"alertname": "Watchdog"},
		}}})
	})
}

// lives posts signs of life until the end.
func (p *play) lives() {
	ctx, stop := context.WithCancel(p.ctx)
	p.atEnd(stop)
	go func() {
		for every := time.NewTicker(time.Second); ctx.Err() == nil; {
			p.sign()
			select {
			case <-ctx.Done():
			case <-every.C:
			}
		}
	}()
}

// pit takes connections and never answers.
func (p *play) pit() (url string) {
	l, err := net.Listen("tcp", harness.Address(harness.FreePort()))
	if err != nil {
		p.do(func(context.Context) error { return err })
		return ""
	}
	p.atEnd(func() { l.Close() })
	return "http://" + l.Addr().String()
}

// bucket is where epochs are kept.
const bucket = "epochs"

// keepsEpochs has the site keep its epochs in a MinIO.
func (p *play) keepsEpochs(site *runbooks.Site) {
	p.do(func(ctx context.Context) (err error) {
		dir := filepath.Join(p.Dir, "minio")
		if err = os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if p.store, err = harness.MinIO(ctx, dir); err != nil {
			return err
		}
		p.atEnd(func() { p.store.Kill() })
		site.S3 = map[string]runbooks.S3{"default": p.store.Site()}
		site.Epochs = &runbooks.EpochStore{Kind: "s3", URL: "s3://" + bucket + "/understudy"}
		return p.store.CreateBucket(ctx, bucket)
	})
}

// overtake writes down that another Understudy has moved the service, with an
// epoch far ahead.
func (p *play) overtake() {
	p.do(func(ctx context.Context) error {
		c, err := p.store.Clients().For(bucket)
		if err != nil {
			return err
		}
		return s3store.New(c, s3client.Location{Bucket: bucket, Key: "understudy"}).Write(ctx, epoch.Record{
			Service: p.Runbook.Service, Epoch: 1000, Holder: epoch.HeldBy("recovery/elsewhere", "another"), Active: runbooks.TierHot, At: time.Now(),
		})
	})
}
