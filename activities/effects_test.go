package activities

import (
	"context"
	"errors"
	"testing"

	"go.temporal.io/sdk/testsuite"
)

// Outside an activity, and in an attempt that has just begun, nothing is late.
func TestAFreshAttempt(t *testing.T) {
	if err := fresh(t.Context()); err != nil {
		t.Error(err)
	}
	env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
	act := func(ctx context.Context) error { return fresh(ctx) }
	env.RegisterActivity(act)
	if _, err := env.ExecuteActivity(act); err != nil {
		t.Error(errors.Unwrap(err))
	}
}
