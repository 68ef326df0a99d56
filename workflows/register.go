package workflows

import (
	"go.temporal.io/sdk/workflow"
)

// Registry is what worker, replayer and test environment have in common.
type Registry interface {
	RegisterWorkflowWithOptions(w any, options workflow.RegisterOptions)
}

// Register registers every workflow under its plain name.
func Register(r Registry) {
	for name, w := range map[string]any{"Guard": Guard, "Recovery": Recovery, "Announcement": Announcement, "Budget": Budget, "Readiness": Readiness, "Drill": Drill, "Sweep": Sweep, "Watchdog": Watchdog, "Batch": Batch} {
		r.RegisterWorkflowWithOptions(w, workflow.RegisterOptions{Name: name})
	}
}
