package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"testing"

	"go.temporal.io/api/enums/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-dr/understudy/tests/harness"
)

// histories are all histories of an Understudy's own engine, by workflow id, as
// the engine sends them: payloads are in them as they were written.
func histories(t *testing.T, u *harness.Understudy) map[string][]byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := dialEngine(t, u.Keys(), harness.EngineNamespace)
	all := map[string][]byte{}
	list, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range list.GetExecutions() {
		id := one.GetExecution().GetWorkflowId()
		events := c.GetWorkflowHistory(ctx, id, one.GetExecution().GetRunId(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			event, err := events.Next()
			if err != nil {
				t.Fatal(err)
			}
			text, err := proto.Marshal(event)
			if err != nil {
				t.Fatal(err)
			}
			all[id] = append(all[id], text...)
		}
	}
	return all
}

// dialEngine connects to an engine.
func dialEngine(t *testing.T, keys harness.EngineKeys, namespace string) client.Client {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(keys.Cert, keys.Key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(pair.Leaf)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := client.DialContext(ctx, client.Options{
		HostPort: keys.Address, Namespace: namespace, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
		ConnectionOptions: client.ConnectionOptions{TLS: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ServerName: harness.EngineName}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// summaries are what the Temporal UI shows above each workflow, as Markdown.
func summaries(t *testing.T, u *harness.Understudy) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := dialEngine(t, u.Keys(), harness.EngineNamespace)
	list, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, one := range list.GetExecutions() {
		id := one.GetExecution().GetWorkflowId()
		described, err := c.DescribeWorkflow(ctx, id, one.GetExecution().GetRunId())
		if err != nil {
			t.Fatal(err)
		}
		summary, err := described.GetStaticSummary()
		if err != nil {
			t.Fatal(err)
		}
		all[id] = all[id] + summary + "\n"
		if value, err := c.QueryWorkflow(ctx, id, one.GetExecution().GetRunId(), "__temporal_workflow_metadata"); err == nil {
			var metadata sdkpb.WorkflowMetadata
			if err := value.Get(&metadata); err == nil {
				all[id] += metadata.GetCurrentDetails()
			}
		}
	}
	if len(all) < 3 {
		t.Fatalf("the engine shows %d workflows", len(all))
	}
	return all
}
