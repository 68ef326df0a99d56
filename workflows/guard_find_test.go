package workflows

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/epoch"
	"github.com/understudy-dr/understudy/runbooks"
)

// A guard that lost its memory is told by the epoch store that the service runs
// on a machine that was made, and finds out which.
func TestAGuardFindsItsMachine(t *testing.T) {
	there := &activities.Made{Tier: runbooks.TierCold, Machine: compute.Ref{ID: "i-7"}, Address: "10.0.0.7"}
	for name, c := range map[string]struct {
		active string
		found  *activities.Made
		fails  error
		want   string
		why    string
	}{
		"it is there":               {runbooks.TierCold, there, nil, "i-7", "the service runs on i-7 at 10.0.0.7"},
		"it is not there":           {runbooks.TierCrossRegion, nil, nil, "", "no machine of cross-region is found here"},
		"the provider is away":      {runbooks.TierCold, nil, temporal.NewNonRetryableApplicationError("away", "Refused", errors.New("away")), "", "could not be looked for: away"},
		"a standby that was no one": {runbooks.TierHot, there, nil, "", "guard is born"},
	} {
		w := newWorld()
		w.epochs.records["asr"] = epoch.Record{Service: "asr", Epoch: 7, Holder: "recovery/asr/7 @ here", Active: c.active}
		state := w.guarded(t, nil, time.Minute, func(env *testsuite.TestWorkflowEnvironment) {
			env.OnActivity(acts.FindMachine, mock.Anything, activities.FindMachineInput{Service: "asr", Tier: c.active}).Return(c.found, c.fails)
		})
		got := ""
		if state.Made != nil {
			got = state.Made.Machine.ID
		}
		if state.Active != c.active || got != c.want || !strings.Contains(state.why()+"guard is born", c.why) {
			t.Errorf("%s: on %s, machine %q\n%s", name, state.Active, got, state.why())
		}
	}
}
