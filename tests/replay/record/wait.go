package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

// newest waits until the newest recovery, which may still run, is as wanted.
func (p *play) newest(want func(r workflows.Report) bool) {
	p.do(func(ctx context.Context) error {
		return until(ctx, func(ctx context.Context) error {
			var all []triggers.Recovery
			if err := p.Understudy.Get(ctx, "/api/v1/recoveries", &all); err != nil || len(all) == 0 {
				return fmt.Errorf("recoveries: %+v, %w", all, err)
			}
			var detail triggers.RecoveryDetail
			if err := p.Understudy.Get(ctx, "/api/v1/recoveries/"+all[0].ID, &detail); err != nil {
				return err
			}
			if !want(detail.Report) {
				return fmt.Errorf("the newest recovery:\n%s", detail.Report.Markdown())
			}
			p.latest = detail.Report
			return nil
		})
	})
}

// outcome waits until the newest recovery has ended, and wants its outcome.
func (p *play) outcome(outcome string) {
	p.newest(func(r workflows.Report) bool { return r.Outcome == outcome })
	p.rests()
}

// guard waits until the guard is as wanted.
func (p *play) guard(want func(g workflows.GuardState) bool) {
	p.do(func(ctx context.Context) error {
		return until(ctx, func(ctx context.Context) error {
			var detail triggers.ServiceDetail
			if err := p.Understudy.Get(ctx, "/api/v1/services/"+p.Runbook.Service, &detail); err != nil {
				return err
			}
			if !want(detail.Guard) {
				return fmt.Errorf("the guard: %+v", detail.Guard)
			}
			return nil
		})
	})
}

// rests waits until no recovery runs, and the guard has heard of the last one's end.
func (p *play) rests() {
	p.guard(func(g workflows.GuardState) bool { return g.Running == nil && g.Key != "" })
}

// decided waits until the guard has made so many decisions of a kind for a reason with these words.
func (p *play) decided(times int, action workflows.Action, because string) {
	p.guard(func(g workflows.GuardState) bool {
		n := 0
		for _, d := range g.Decisions {
			if d.Action == action && strings.Contains(d.Reason, because) {
				n++
			}
		}
		return n >= times
	})
}

// told waits until people were told something.
func (p *play) told(words string) {
	p.do(func(ctx context.Context) error {
		return until(ctx, func(context.Context) error {
			if told := p.Slack.Transcript(); !strings.Contains(told, words) {
				return fmt.Errorf("people were not told %q:\n%s", words, told)
			}
			return nil
		})
	})
}
