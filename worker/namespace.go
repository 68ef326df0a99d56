package worker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	namespacepb "go.temporal.io/api/namespace/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-dr/understudy/worker/embedded"
	"github.com/understudy-dr/understudy/workflows"
)

// minRetention is below what a post-mortem needs: three months.
const minRetention = 90 * 24 * time.Hour

// prepareNamespace sees to it that the engine has our search attributes and
// keeps recoveries long enough. It reports whether the attributes are there;
// Understudy works without them.
func prepareNamespace(ctx context.Context, e *engine, log *slog.Logger) bool {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := ensureRetention(ctx, e, log); err != nil {
		log.Warn("the namespace's retention could not be read", "namespace", e.namespace, "error", err)
	}
	missing, err := ensureSearchAttributes(ctx, e)
	if err != nil {
		log.Warn("recoveries will run without search attributes: they could not be registered; ask the cluster's operator for them", "missing", missing, "error", err)
		return false
	}
	return true
}

// name is the engine's where epochs are recorded. All Understudys on a cluster
// act for one engine: what a worker has claimed, the next one goes on with. An
// embedded engine is known by its data directory, as which it outlives a new
// database.
func (e *engine) name(ctx context.Context, ofDataDir string) (string, error) {
	if e.embedded != nil {
		return ofDataDir, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	ns, err := e.client.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: e.namespace})
	if err != nil {
		return "", fmt.Errorf("ask the cluster for namespace %s: %w", e.namespace, err)
	}
	return e.namespace + "/" + ns.GetNamespaceInfo().GetId(), nil
}

func ensureRetention(ctx context.Context, e *engine, log *slog.Logger) error {
	service := e.client.WorkflowService()
	ns, err := service.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: e.namespace})
	if err != nil {
		return err
	}
	retention := ns.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration()
	if e.embedded == nil {
		if retention < minRetention {
			log.Warn("the cluster forgets closed recoveries early; reports are kept, the Temporal UI will not show them", "retention", retention, "advised", minRetention)
		}
		return nil
	}
	if retention == embedded.Retention {
		return nil
	}
	_, err = service.UpdateNamespace(ctx, &workflowservice.UpdateNamespaceRequest{
		Namespace: e.namespace,
		Config:    &namespacepb.NamespaceConfig{WorkflowExecutionRetentionTtl: durationpb.New(embedded.Retention)},
	})
	return err
}

// ensureSearchAttributes registers what is missing, and returns its names where
// that fails.
func ensureSearchAttributes(ctx context.Context, e *engine) (missing []string, err error) {
	operator := e.client.OperatorService()
	list := func() (map[string]enumspb.IndexedValueType, error) {
		known, err := operator.ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: e.namespace})
		return known.GetCustomAttributes(), err
	}
	known, err := list()
	if err != nil {
		return nil, err
	}
	add := map[string]enumspb.IndexedValueType{}
	for name, kind := range workflows.SearchAttributes {
		switch has, ok := known[name]; {
		case !ok:
			add[name], missing = kind, append(missing, name)
		case has != kind:
			return []string{name}, fmt.Errorf("%s has type %s in this namespace, not %s", name, has, kind)
		}
	}
	if len(add) == 0 {
		return nil, nil
	}
	if _, err := operator.AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: e.namespace, SearchAttributes: add}); err != nil {
		return missing, err
	}
	// The engine's parts learn of new attributes a moment later.
	for {
		known, err := list()
		if err == nil {
			if _, ok := known[missing[0]]; ok {
				return nil, nil
			}
		}
		select {
		case <-ctx.Done():
			return missing, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
