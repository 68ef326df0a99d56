package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

// namespace is one of an operator's, who knows nothing of Understudy: without its
// search attributes, and with a short memory.
const namespace = "operators"

// Understudy on a Temporal cluster of somebody else's: it adds what it needs to
// the namespace, and warns of what it should not change. While the cluster is
// away alerts are refused with 503, and the real Alertmanager brings them again.
func TestOnACluster(t *testing.T) {
	abreast(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	engine, err := harness.Engine(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Kill() })
	register(t, engine)
	s := setScene(t, harness.SceneOptions{Env: append(engine.Keys.Env(), "TEMPORAL_NAMESPACE="+namespace)})

	if _, err := os.Stat(filepath.Join(s.Understudy.Options.Site.DataDir, "engine")); err == nil {
		t.Error("it runs an engine of its own all the same")
	}
	c := dialEngine(t, engine.Keys, namespace)
	known, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	for name, kind := range workflows.SearchAttributes {
		if known.GetCustomAttributes()[name] != kind {
			t.Errorf("search attribute %s: %s", name, known.GetCustomAttributes()[name])
		}
	}
	log := s.Understudy.Tail(1 << 20)
	if warned := line(log, "the cluster forgets closed recoveries early"); !strings.Contains(warned, "level=WARN") || !strings.Contains(warned, "retention=24h") || !strings.Contains(warned, "advised=2160h") {
		t.Errorf("the warning: %q in\n%s", warned, log)
	}
	now, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: namespace})
	if err != nil || now.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration() != 24*time.Hour {
		t.Errorf("the operator's retention was changed: %v, %v", now, err)
	}
	guard(t, s.Understudy, atRest)

	// The cluster goes away, and then the primary.
	host := newExporter(t)
	w := watch(t, s, map[string]string{"fun-asr": host.address}, 1)
	engine.Kill()
	s.Primary.Kill()
	host.down()
	w.refused(t)
	if code := alert(t, s.Understudy, "firing", time.Now(), func(a map[string]any) { a["fingerprint"] = "f2" }); code != http.StatusServiceUnavailable {
		t.Errorf("without a cluster an alert was answered with %d", code)
	}
	eventually(t, func(context.Context) error {
		if told := s.Slack.Transcript(); !strings.Contains(told, "Understudy itself needs a person") {
			return errors.New("nobody was told that alerts are not taken: " + told)
		}
		return nil
	})
	if err := engine.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	servers(t, s, "MAINT", "UP")
	if n := count(t, s.Understudy); n != 1 {
		t.Errorf("%d recoveries", n)
	}
	eventually(t, func(ctx context.Context) error {
		found, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: fmt.Sprintf(
			"UnderstudyService = 'fun-asr' AND UnderstudyOutcome = '%s' AND UnderstudyTier = 'hot' AND UnderstudyMode = 'live' AND UnderstudyTrigger = 'alert' AND UnderstudyRTOSeconds > 0",
			workflows.OutcomeRecovered)})
		if err == nil && len(found.GetExecutions()) != 1 {
			err = fmt.Errorf("the cluster finds %d recoveries by their attributes", len(found.GetExecutions()))
		}
		return err
	})
}

// register makes the operator's namespace, and waits until it can be used.
func register(t *testing.T, engine *harness.EngineServer) {
	t.Helper()
	c := dialEngine(t, engine.Keys, harness.EngineNamespace)
	eventually(t, func(ctx context.Context) error {
		_, err := c.WorkflowService().RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
			Namespace: namespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
		})
		return err
	})
	eventually(t, func(ctx context.Context) error {
		_, err := c.WorkflowService().CountWorkflowExecutions(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: namespace})
		return err
	})
}

// line is the first line of a text that contains some words.
func line(text, words string) string {
	for one := range strings.Lines(text) {
		if strings.Contains(one, words) {
			return one
		}
	}
	return ""
}
