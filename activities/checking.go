package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/runbooks"
)

// CheckMachineInput asks whether a tier's machine could be made now.
type CheckMachineInput struct {
	Service string                `json:"service"`
	Epoch   int64                 `json:"epoch"`
	Mode    string                `json:"mode"`
	Tier    runbooks.Tier         `json:"tier"`
	Data    DataInput             `json:"data"`
	Limits  runbooks.Limits       `json:"limits"`
	Depends []runbooks.Dependency `json:"depends,omitempty"`
	// Besides are machines that do not count against the limit: the failed active's, which is on its way out.
	Besides []string `json:"besides,omitempty"`
}

// MachineGate is the answer, with its reasons.
type MachineGate struct {
	Timing
	// Refusals say why the tier must not be tried now; empty where it may.
	Refusals []string `json:"refusals,omitempty"`
	// Shared is set where a common dependency is down: no other tier that makes machines would do better.
	Shared string `json:"shared,omitempty"`
	// Notes are worth telling, but stop nothing.
	Notes []string `json:"notes,omitempty"`
	// Points is how far the data is.
	Points []DataPoint `json:"points,omitempty"`
	// Pace is how long the tier's steps took before.
	Pace []reports.Pace `json:"pace,omitempty"`
}

// CheckMachine asks, all at once, whether the machine may be made, the model
// volumes can be had, the data can be restored, and what all tiers need in
// common is up. It only looks.
func (a *Activities) CheckMachine(ctx context.Context, in CheckMachineInput) (MachineGate, error) {
	g := MachineGate{Timing: begin()}
	defer heartbeat(ctx)()
	var machine, store, data, shared MachineGate
	var wg sync.WaitGroup
	wg.Go(func() { machine = a.checkOrder(ctx, in) })
	wg.Go(func() { store = a.checkVolumes(ctx, in.Tier) })
	wg.Go(func() { data = a.checkData(ctx, in) })
	wg.Go(func() { shared = a.checkDepends(ctx, in.Depends) })
	wg.Go(func() { g.Pace = a.pace(ctx, in.Service, in.Tier.Name) })
	wg.Wait()
	for _, part := range []MachineGate{shared, machine, store, data} {
		g.Refusals = append(g.Refusals, part.Refusals...)
		g.Notes = append(g.Notes, part.Notes...)
	}
	g.Shared, g.Points = shared.Shared, data.Points
	g.Timing = g.Timing.end()
	return g, ctx.Err()
}

// checkOrder refuses only where no placement would take the order.
func (a *Activities) checkOrder(ctx context.Context, in CheckMachineInput) (g MachineGate) {
	p := in.Tier.Provision
	if p == nil {
		return g
	}
	provider, err := a.Providers(*p)
	if err != nil {
		return refuse("machine: %v", err)
	}
	there, err := a.machinesOf(ctx, ListMachinesInput{Service: in.Service, Provision: *p})
	if err != nil {
		g.Notes = append(g.Notes, "the machines that are there could not be listed: "+err.Error())
	}
	count := 0
	for _, m := range there {
		if !slices.Contains(in.Besides, m.ID) && m.Tags[compute.TagMode] == in.Mode {
			count++
		}
	}
	if count >= in.Limits.Machines && in.Mode == ModeLive {
		return refuse("machine: policy.limits allows %d at once, and %d are there: see understudy status --machines", in.Limits.Machines, count)
	}
	var reasons []string
	for _, place := range p.Places() {
		err := provider.Check(ctx, compute.Order{
			Key: "check", Service: in.Service, Epoch: in.Epoch, Mode: in.Mode, Expires: time.Now().Add(time.Hour), Provision: *p, Placement: place,
		})
		if err == nil || errors.Is(err, compute.ErrCredentials) || !definite(err) {
			return MachineGate{Notes: g.Notes} // what cannot be known beforehand is found out by doing it
		}
		reasons = append(reasons, fmt.Sprintf("machine at %s: %v", place.Text(), err))
	}
	return MachineGate{Refusals: reasons, Notes: g.Notes}
}

// definite reports whether an order would certainly fail.
func definite(err error) bool {
	return errors.Is(err, compute.ErrRefused) || errors.Is(err, compute.ErrCapacity) || errors.Is(err, compute.ErrQuota)
}

// checkVolumes asks whether each volume's manifest is in the store.
func (a *Activities) checkVolumes(ctx context.Context, t runbooks.Tier) (g MachineGate) {
	for _, v := range t.Volumes {
		ctx, cancel := context.WithTimeout(ctx, storeLook)
		_, err := a.Sources.Read(ctx, v.Source+"/"+v.Manifest)
		cancel()
		if err != nil {
			g.Refusals = append(g.Refusals, fmt.Sprintf("model volume: %s of %s cannot be read: %v", v.Manifest, v.Source, err))
		}
	}
	return g
}

// checkData finds the points to restore from.
func (a *Activities) checkData(ctx context.Context, in CheckMachineInput) (g MachineGate) {
	for _, d := range in.Data.Data {
		ctx, cancel := context.WithTimeout(ctx, storeLook)
		point, err := a.lookAtData(ctx, in.Data, d)
		cancel()
		switch {
		case errors.Is(err, replica.ErrNone):
			g.Refusals = append(g.Refusals, fmt.Sprintf("data: nothing of %s is replicated at %s%s", d.Path, d.Replica, d.Bucket))
		case err != nil:
			g.Refusals = append(g.Refusals, fmt.Sprintf("data: %s: %v", d.Path, err))
		default:
			g.Points = append(g.Points, DataPoint{Data: d, Point: point})
			if lag := point.Lag(time.Now()); d.MaxLag > 0 && lag > d.MaxLag.D() {
				g.Notes = append(g.Notes, fmt.Sprintf("data: the newest change of %s that arrived is %s old", d.Path, lag.Round(time.Second)))
			}
		}
	}
	return g
}

// checkDepends asks what the services need in common. A dependency that is down
// would let every tier fail in the same way.
func (a *Activities) checkDepends(ctx context.Context, depends []runbooks.Dependency) (g MachineGate) {
	for _, d := range depends {
		if why := a.dependencyDown(ctx, d); why != "" {
			g.Shared = fmt.Sprintf("%s is down (%s)", d.Name, why)
			g.Refusals = append(g.Refusals, "shared cause: "+g.Shared)
		}
	}
	return g
}

func (a *Activities) dependencyDown(ctx context.Context, d runbooks.Dependency) string {
	ctx, cancel := context.WithTimeout(ctx, storeLook)
	defer cancel()
	scheme, rest, _ := strings.Cut(d.URL, "://")
	if scheme == "s3" {
		bucket, _, _ := strings.Cut(rest, "/")
		if err := a.Buckets(ctx, bucket); err != nil {
			return err.Error()
		}
		return ""
	}
	health := runbooks.Health{Kind: "http", Timeout: runbooks.Duration(storeLook / 2)}
	if scheme == "tcp" {
		health.Kind = "tcp"
	}
	seen := a.Prober.Probe(ctx, probe.Request{URL: d.URL, Health: health})
	switch seen.Finding {
	case runbooks.Answers, runbooks.Slow, runbooks.Errors: // what answers with an error is there; whether it is well is its own matter
		return ""
	default:
		return fmt.Sprintf("%s: %s", seen.Finding, seen.Detail)
	}
}

// storeLook bounds a look at a store before anything is made.
const storeLook = 3 * time.Second

func refuse(format string, args ...any) MachineGate {
	return MachineGate{Refusals: []string{fmt.Sprintf(format, args...)}}
}
