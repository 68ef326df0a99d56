package activities

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

// Levels of a finding.
const (
	LevelOK   = "ok"
	LevelWarn = "warn" // worth knowing; a recovery would still work
	LevelFail = "fail" // a recovery would fail here
)

// Finding is one thing that was looked at, before any disaster.
type Finding struct {
	Tier string `json:"tier,omitempty"`
	// Check is what was looked at: standby, version, settings, canary, machine, model, data, depends, balancer, epochs,
	// chat, secrets, disk, proof, look.
	Check string `json:"check"`
	// About is which one, where a tier has several: a placement, a volume, a path, a chat.
	About string `json:"about,omitempty"`
	Level string `json:"level"`
	What  string `json:"what"`
	// Do is what a person can do about it.
	Do string `json:"do,omitempty"`
	// Since is when it was first found so.
	Since time.Time `json:"since,omitzero"`
}

// CheckReadinessInput asks whether each tier of a service would work right now.
type CheckReadinessInput struct {
	Runbook runbooks.Runbook `json:"runbook"`
	Active  runbooks.Target  `json:"active"`
	// Data says where the newest data is.
	DataEpoch int64 `json:"data_epoch,omitempty"`
	DataKnown bool  `json:"data_known,omitempty"`
	// Canaries sends a real inference to each running standby; rarely, because it costs one.
	Canaries bool `json:"canaries,omitempty"`
}

// CheckReadinessResult is what was found.
type CheckReadinessResult struct {
	Timing
	Findings []Finding `json:"findings"`
}

// CheckReadiness looks at everything that a recovery of the service would need,
// all at once. It changes nothing and makes nothing; a launch is only asked for
// as a dry run.
func (a *Activities) CheckReadiness(ctx context.Context, in CheckReadinessInput) (CheckReadinessResult, error) {
	out := CheckReadinessResult{Timing: begin()}
	defer heartbeat(ctx)()
	var mu sync.Mutex
	var wg sync.WaitGroup
	look := func(check func() []Finding) {
		wg.Go(func() {
			found := check()
			mu.Lock()
			defer mu.Unlock()
			out.Findings = append(out.Findings, found...)
		})
	}
	for _, t := range in.Runbook.Tiers {
		if t.Name == in.Active.Name {
			continue
		}
		switch {
		case t.Provision != nil:
			look(func() []Finding { return a.readyToMake(ctx, in, t) })
		case t.Activate != nil:
			look(func() []Finding { return a.readyToWake(ctx, in, t) })
		default:
			look(func() []Finding { return a.readyStandby(ctx, in, t) })
		}
		look(func() []Finding { return a.readySlot(ctx, in, t) })
	}
	look(func() []Finding { return a.readyEpochs(ctx, in) })
	look(func() []Finding { return a.readyChats(ctx, in) })
	look(func() []Finding { return a.readySecrets() })
	look(func() []Finding { return a.readyDisk() })
	wg.Wait()
	slices.SortFunc(out.Findings, func(x, y Finding) int {
		return cmp.Or(cmp.Compare(x.Tier, y.Tier), cmp.Compare(x.Check, y.Check), cmp.Compare(x.About, y.About))
	})
	out.Timing = out.Timing.end()
	return out, ctx.Err()
}

// readyStandby asks a running standby, as the gate of a recovery would.
func (a *Activities) readyStandby(ctx context.Context, in CheckReadinessInput, t runbooks.Tier) []Finding {
	target, _ := in.Runbook.TargetNamed(t.Name)
	gate, err := a.CheckStandby(ctx, CheckStandbyInput{Target: target, Health: in.Runbook.Health, Version: in.Runbook.Version, Settings: in.Runbook.Settings})
	if err != nil {
		return []Finding{{Tier: t.Name, Check: "standby", Level: LevelFail, What: err.Error()}}
	}
	if len(gate.Refusals) > 0 {
		var found []Finding
		for _, refusal := range gate.Refusals {
			check, what, ok := strings.Cut(refusal, ": ")
			if !ok {
				check, what = "standby", refusal
			}
			found = append(found, Finding{Tier: t.Name, Check: check, Level: LevelFail, What: what, Do: "mend " + target.URL + "; until then a recovery passes over it"})
		}
		return found
	}
	found := []Finding{{Tier: t.Name, Check: "standby", Level: LevelOK, What: "it answers; version and settings are right"}}
	for _, note := range gate.Notes {
		found = append(found, Finding{Tier: t.Name, Check: "notes", Level: LevelWarn, What: note})
	}
	if in.Canaries && in.Runbook.Canary != nil {
		found = append(found, a.readyCanary(ctx, in, target))
	}
	return found
}

func (a *Activities) readyCanary(ctx context.Context, in CheckReadinessInput, target runbooks.Target) Finding {
	f := Finding{Tier: target.Name, Check: "canary", Level: LevelOK}
	o := a.proveOnce(ctx, ProveInput{Service: in.Runbook.Service, URL: target.URL, Canary: in.Runbook.Canary, Health: in.Runbook.Health})
	f.What = o.Detail
	if o.Finding != runbooks.Answers {
		f.Level, f.Do = LevelFail, "send the canary by hand and look at the model of "+target.URL
	}
	return f
}

// readyToWake asks whether a resting standby is there at all.
func (a *Activities) readyToWake(ctx context.Context, in CheckReadinessInput, t runbooks.Tier) []Finding {
	if why := a.dependencyDown(ctx, runbooks.Dependency{Name: t.Name, URL: tcpOf(t.URL)}); why != "" {
		return []Finding{{Tier: t.Name, Check: "standby", Level: LevelFail, What: why, Do: "start the instance at " + t.URL}}
	}
	return []Finding{{Tier: t.Name, Check: "standby", Level: LevelOK, What: "it is there, and rests"}}
}

// tcpOf is the address of a URL, to see whether somebody listens there.
func tcpOf(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	if !strings.Contains(host, ":") {
		host += ":80"
	}
	return "tcp://" + host
}
