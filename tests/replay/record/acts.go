package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/fakeslack"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/site/stage"
	"github.com/understudy-dr/understudy/workflows"
)

// somebody is who gives orders.
const somebody = "dana"

func hotCrash(p *play) {
	p.kill(p.Primary.Process)
	p.fire()
	p.outcome(workflows.OutcomeRecovered)
}

func heldHang(p *play) {
	p.do(p.Primary.Freeze)
	p.fire()
	p.outcome(workflows.OutcomeRecovered)
}

func falseAlarm(p *play) {
	p.fire()
	p.outcome(workflows.OutcomeFalseAlarm)
}

func degraded(p *play) {
	p.suffer(p.Primary, stage.Fault{Mode: stage.Slow, Delay: "650ms"})
	p.fire()
	p.outcome(workflows.OutcomeDegraded)
}

func disagree(p *play) {
	p.fire()
	p.outcome(workflows.OutcomeHeld)
}

func refused(p *play) {
	p.kill(p.Primary.Process)
	p.movedAway()
	p.fire()
	p.outcome(workflows.OutcomeFailed)
}

func undone(p *play) {
	p.suffer(p.Hot, stage.Fault{Mode: stage.Wrong})
	p.kill(p.Primary.Process)
	p.movedAway()
	p.fire()
	p.outcome(workflows.OutcomeFailed)
}

func resolves(p *play) {
	p.suffer(p.Primary, stage.Fault{Mode: stage.Wrong})
	// It holds the proof up, but no health check.
	p.suffer(p.Hot, stage.Fault{Mode: stage.Slow, Delay: "5s", File: strings.TrimSuffix(harness.Recording, ".wav")})
	p.fire()
	p.newest(func(r workflows.Report) bool {
		return slices.ContainsFunc(r.Timeline, func(rec workflows.Record) bool {
			return rec.Step == runbooks.StepProve && rec.State == workflows.InProgress
		})
	})
	p.suffer(p.Primary, stage.Fault{Mode: stage.None})
	p.alert("resolved")
	p.outcome(workflows.OutcomeSelf)
}

func fenceAsks(p *play) {
	p.do(p.Primary.Freeze)
	p.fire()
	p.newest(func(r workflows.Report) bool { return r.Question != nil })
	p.answer("retry")
	p.outcome(workflows.OutcomeRecovered)
}

func lateClaim(p *play) {
	p.kill(p.store.Process)
	p.kill(p.Primary.Process)
	p.fire()
	p.newest(verified)
	p.restart(p.store)
	p.newest(func(r workflows.Report) bool { return strings.Contains(r.Claim, "recorded later") })
	p.outcome(workflows.OutcomeRecovered)
}

func superseded(p *play) {
	p.overtake()
	p.kill(p.Primary.Process)
	p.fire()
	p.outcome(workflows.OutcomeSuperseded)
	p.guard(func(g workflows.GuardState) bool { return g.Active == runbooks.TierHot })
}

func longLife(p *play) {
	p.kill(p.Primary.Process)
	p.fire()
	p.newest(verified)
	p.alert("firing")
	p.decided(1, workflows.Join, "is running")
	p.outcome(workflows.OutcomeRecovered)
	p.alert("firing")
	p.decided(1, workflows.Ignore, "has answered this alert")
	p.restart(p.Primary)
	p.alert("resolved")
	p.alert("firing")
	p.decided(1, workflows.Ignore, "late copy")
	// The primary is down again, and nobody uses it.
	p.fire()
	p.decided(1, workflows.Ignore, "hot is Healthy")
	// The guard sees itself that the standby is lost: it waits for the cooldown's end.
	p.kill(p.Hot.Process)
	p.decided(1, workflows.Wait, "cooldown")
	p.newest(func(r workflows.Report) bool {
		return r.Outcome == workflows.OutcomeRecovered && r.From == runbooks.TierHot
	})
	p.rests()
}

func lostAgain(p *play) {
	p.kill(p.Primary.Process)
	p.fire()
	p.newest(verified)
	p.restart(p.Primary)
	p.kill(p.Hot.Process)
	p.newest(func(r workflows.Report) bool { return r.Trigger.Kind == workflows.TriggerLost && verified(r) })
	p.abort()
}

func drift(p *play) {
	p.kill(p.Primary.Process)
	p.fire()
	p.outcome(workflows.OutcomeRecovered)
	p.restart(p.Primary)
	p.balancer("set server fun_asr/primary state ready")
	p.told("drifted")
}

func orders(p *play) {
	id := workflows.GuardID(p.Runbook.Service)
	p.order(id, workflows.PauseUpdateName, "", workflows.PauseUpdate{By: somebody, Reason: "we move racks"})
	p.kill(p.Primary.Process)
	p.fire()
	p.told("paused by")
	p.alert("firing")
	p.decided(2, workflows.Hold, "paused by")
	p.order(id, workflows.ResumeUpdateName, "", workflows.ResumeUpdate{By: somebody})
	p.newest(verified)
	first := p.latest.Epoch
	p.restart(p.Primary)
	again := workflows.RecoverUpdate{By: somebody, Reason: "once more", Force: true, Supersede: true}
	p.order(id, workflows.RecoverUpdateName, "once-more", again)
	p.newest(func(r workflows.Report) bool { return r.Epoch > first && verified(r) })
	p.abort()
	// It is known after the end, in the guard's next run, and not done again.
	p.order(id, workflows.RecoverUpdateName, "once-more", again)
}

func killed(p *play) {
	p.kill(p.Primary.Process)
	p.fire()
	p.newest(verified)
	p.kill(p.Understudy.Process)
	p.restart(p.Understudy)
	p.outcome(workflows.OutcomeRecovered)
}

func chatAway(p *play) {
	p.Slack.Inject(fakeslack.Fault{Status: http.StatusServiceUnavailable, Times: 3})
	p.fire()
	p.outcome(workflows.OutcomeFalseAlarm)
	p.told(workflows.OutcomeFalseAlarm)
}

func verified(r workflows.Report) bool { return !r.Verified.IsZero() }

// bothGone ends primary and hot standby, and tells Understudy.
func bothGone(p *play) {
	p.kill(p.Primary.Process)
	p.kill(p.Hot.Process)
	p.fire()
}

func cold(p *play) {
	bothGone(p)
	p.outcome(workflows.OutcomeRecovered)
}

func coldRefused(p *play) {
	p.kill(p.Cold.MinIO.Process)
	bothGone(p)
	p.outcome(workflows.OutcomeFailed)
}

func coldFails(p *play) {
	bothGone(p)
	p.outcome(workflows.OutcomeFailed)
}

func approval(p *play) {
	bothGone(p)
	p.newest(func(r workflows.Report) bool { return r.Question != nil })
	p.answer("approve")
	p.outcome(workflows.OutcomeRecovered)
}

func retried(p *play) {
	loading := func(times int) func(r workflows.Report) bool {
		return func(r workflows.Report) bool {
			seen := 0
			for _, rec := range r.Timeline {
				if rec.Step == runbooks.StepLoad {
					seen++
				}
			}
			return seen == times
		}
	}
	bothGone(p)
	p.newest(loading(1))
	p.order(p.latest.Recovery, workflows.RetryUpdateName, "", workflows.StepUpdate{By: somebody, Reason: "once more"})
	p.newest(loading(2))
	p.order(p.latest.Recovery, workflows.SkipUpdateName, "", workflows.StepUpdate{By: somebody, Reason: "it hangs"})
	p.outcome(workflows.OutcomeFailed)
}

func rolledBack(p *play) {
	p.kill(p.Primary.Process)
	p.fire()
	p.newest(verified)
	p.restart(p.Primary)
	p.order(p.latest.Recovery, workflows.RollbackUpdateName, "", workflows.SettleUpdate{By: somebody, Reason: "it works again"})
	p.outcome(workflows.OutcomeRolledBack)
}

func drill(p *play) {
	p.trigger(workflows.SweepScheduleID)
	p.trigger(workflows.DrillScheduleID(p.Runbook.Service))
	p.outcome(workflows.OutcomeDrilled)
	p.order(workflows.ReadinessID(p.Runbook.Service), workflows.LookUpdateName, "", nil)
}

func failback(p *play) {
	p.kill(p.Primary.Process)
	p.fire()
	p.outcome(workflows.OutcomeRecovered)
	p.restart(p.Primary)
	p.order(workflows.GuardID(p.Runbook.Service), workflows.FailbackUpdateName, "", workflows.FailbackUpdate{By: somebody, Reason: "the primary is mended"})
	p.outcome(workflows.OutcomeHome)
}

func gameDay(p *play) {
	p.order(workflows.GuardID(p.Runbook.Service), workflows.DrillUpdateName, "", workflows.DrillUpdate{By: somebody, Reason: "quarterly", GameDay: true})
	p.newest(func(r workflows.Report) bool { return r.Question != nil })
	p.answer("approve")
	p.outcome(workflows.OutcomeRecovered)
	p.outcome(workflows.OutcomeHome) // by itself
}

func silentSite(p *play) {
	p.sign()
	p.do(func(ctx context.Context) error {
		return until(ctx, func(context.Context) error {
			if told := p.Slack.Transcript(); !strings.Contains(told, "dc-a") {
				return errors.New("people are not told that the site is silent")
			}
			return nil
		})
	})
	p.sign()
	p.kill(p.Primary.Process)
	p.outcome(workflows.OutcomeRecovered)
	p.lives() // its stories end when it is heard of again
}
