package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
)

// findMachine finds the machine on which the service runs, where the guard has
// only been told the tier: by the epoch store, or by another Understudy. Until it
// is known nothing that was made for the service is removed. The guard does not
// wait for it; what is not found now is looked for by its next run.
func (g *guard) findMachine(ctx workflow.Context) {
	tier := g.state.Active
	if g.state.Made != nil || !madeTier(tier) {
		return
	}
	g.telling++
	workflow.Go(ctx, func(ctx workflow.Context) {
		defer func() { g.telling-- }()
		made, err := do(ctx, lookForMachine, "find the machine of "+tier, acts.FindMachine, activities.FindMachineInput{Service: g.state.Service, Tier: tier})
		d := Decision{Event: "the guard knows only the tier", Action: Ignore}
		switch {
		case g.state.Made != nil || g.state.Active != tier:
			return // a recovery has moved it meanwhile
		case err != nil:
			d.Reason = "the machine of " + tier + " could not be looked for: " + reason(err)
		case made == nil:
			d.Reason = "no machine of " + tier + " is found here; what was made for the service is left alone"
		default:
			g.state.Made = made
			d.Reason = "the service runs on " + made.Machine.ID + " at " + made.Address
		}
		g.decide(ctx, d)
	})
}

// madeTier reports whether a tier is one whose machine is made.
func madeTier(tier string) bool {
	return tier == runbooks.TierCold || tier == runbooks.TierCrossRegion
}
