package activities

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
)

// slowAnswer answers once the engine has had a heartbeat since it was asked.
type slowAnswer struct {
	beats   chan struct{}
	once    sync.Once
	unheard bool
}

func (s *slowAnswer) Probe(context.Context, probe.Request) probe.Result {
	s.once.Do(func() {
		for range len(s.beats) {
			<-s.beats // those from before it was asked
		}
		select {
		case <-s.beats:
		case <-time.After(20 * time.Second):
			s.unheard = true
		}
	})
	return probe.Result{Finding: runbooks.Answers}
}

// A canary may take longer than the engine waits for a sign of life: one that
// was taken for lost would be sent again and again, and no switch be committed.
func TestACanaryThatTakesLongIsNotTakenForLost(t *testing.T) {
	in := ProveInput{Service: "asr", URL: "http://192.0.2.1", Health: runbooks.Health{Path: "/health", Timeout: runbooks.Duration(time.Second)}}
	for name, act := range map[string]func(*Activities) (any, any){
		"Confirm": func(a *Activities) (any, any) {
			return a.Confirm, ConfirmInput{ProveInput: in, For: runbooks.Duration(50 * time.Millisecond), Every: runbooks.Duration(time.Millisecond), Failures: 3}
		},
		"AwaitWell": func(a *Activities) (any, any) {
			return a.AwaitWell, AwaitWellInput{ProveInput: in, For: runbooks.Duration(time.Millisecond), Every: runbooks.Duration(time.Millisecond), Within: runbooks.Duration(time.Minute)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slow := &slowAnswer{beats: make(chan struct{}, 100)}
			acts := New(Deps{Prober: slow})
			env := (&testsuite.WorkflowTestSuite{}).NewTestWorkflowEnvironment()
			env.SetOnActivityHeartbeatListener(func(*activity.Info, converter.EncodedValues) {
				select {
				case slow.beats <- struct{}{}:
				default:
				}
			})
			env.RegisterActivity(acts)
			method, input := act(acts)
			env.ExecuteWorkflow(func(ctx workflow.Context) error {
				ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Hour, HeartbeatTimeout: time.Minute})
				return workflow.ExecuteActivity(ctx, method, input).Get(ctx, nil)
			})
			if err := env.GetWorkflowError(); err != nil || slow.unheard {
				t.Errorf("no heartbeat came while the canary ran; %v", err)
			}
		})
	}
}
