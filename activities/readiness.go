package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/runbooks"
)

// Levels of a finding.
const (
	LevelOK   = "ok"
	LevelWarn = "warn" // worth knowing; a recovery would still work
	LevelFail = "fail" // a recovery would fail here
)

const (
	// diskSpare is what must be free where reports and the engine's file are, in bytes.
	diskSpare = 1 << 30
	// hashFor is how long one look may hash what was never hashed of one model; the rest comes at the next looks.
	hashFor = time.Minute
	// ServiceTier is the tier of findings that are about all of them.
	ServiceTier = ""
)

// Finding is one thing that was looked at, before any disaster.
type Finding struct {
	Tier string `json:"tier,omitempty"`
	// Check is what was looked at: standby, version, settings, canary, machine, model, data, balancer, epochs, chat, disk, proof.
	Check string `json:"check"`
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
	look(func() []Finding { return a.readyDisk() })
	wg.Wait()
	slices.SortFunc(out.Findings, func(x, y Finding) int { return cmp.Or(cmp.Compare(x.Tier, y.Tier), cmp.Compare(x.Check, y.Check)) })
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

// readyToMake asks what a recovery asks before it makes a machine, and whether
// the model in the store is the version that is expected.
func (a *Activities) readyToMake(ctx context.Context, in CheckReadinessInput, t runbooks.Tier) []Finding {
	gate, err := a.CheckMachine(ctx, CheckMachineInput{
		Service: in.Runbook.Service, Mode: ModeDrill, Tier: t, Limits: in.Runbook.Policy.Limits, Depends: in.Runbook.Depends,
		Data: DataInput{Data: in.Runbook.DataOf(t.Name), From: in.DataEpoch, Known: in.DataKnown, Before: 1<<63 - 1},
	})
	if err != nil {
		return []Finding{{Tier: t.Name, Check: "machine", Level: LevelFail, What: err.Error()}}
	}
	var found []Finding
	for _, refusal := range gate.Refusals {
		check, what, _ := strings.Cut(refusal, ": ")
		found = append(found, Finding{Tier: t.Name, Check: checkName(check), Level: LevelFail, What: what, Do: "see understudy plan " + in.Runbook.Service})
	}
	for _, note := range gate.Notes {
		found = append(found, Finding{Tier: t.Name, Check: "notes", Level: LevelWarn, What: note})
	}
	for _, p := range gate.Points {
		found = append(found, lagFinding(t.Name, p))
	}
	if len(gate.Refusals) == 0 {
		found = append(found, Finding{Tier: t.Name, Check: "machine", Level: LevelOK, What: "a launch would be taken, and the model is in the store"})
	}
	found = append(found, a.readyVolumes(ctx, t)...)
	return append(found, a.readyModel(ctx, in, t)...)
}

// readyVolumes proves the model volumes of a tier where they live: a file that
// is missing, too much, too short or changed is named now, and not by a machine
// that is made for nothing.
func (a *Activities) readyVolumes(ctx context.Context, t runbooks.Tier) (found []Finding) {
	if a.Models == nil {
		return nil
	}
	for _, v := range t.Volumes {
		f := Finding{Tier: t.Name, Check: "model", Level: LevelOK}
		p, err := a.Models.Prove(ctx, v, hashFor)
		switch {
		case errors.Is(err, volumes.ErrWrong):
			f.Level, f.What, f.Do = LevelFail, err.Error(), "push the model anew: understudy volume push DIR "+v.Source
		case err != nil:
			f.Level, f.What, f.Do = LevelFail, err.Error(), "see whether the store is up, and may be read with these credentials"
		case p.Proven < p.Bytes:
			f.What = fmt.Sprintf("%s: %.0f%% of %.1f GB are hashed and right; the rest comes at the next looks", v.Source, 100*float64(p.Proven)/float64(p.Bytes), float64(p.Bytes)/1e9)
		default:
			f.What = fmt.Sprintf("%s: all %d files are there, and every byte is right", v.Source, p.Files)
		}
		found = append(found, f)
	}
	return found
}

func checkName(prefix string) string {
	switch {
	case strings.HasPrefix(prefix, "machine"):
		return "machine"
	case strings.HasPrefix(prefix, "model"):
		return "model"
	case strings.HasPrefix(prefix, "data"):
		return "data"
	default:
		return prefix
	}
}

func lagFinding(tier string, p DataPoint) Finding {
	lag := p.Point.Lag(time.Now()).Round(time.Second)
	f := Finding{Tier: tier, Check: "data", Level: LevelOK, What: fmt.Sprintf("%s can be restored to %s ago (epoch %d, %s)", p.Data.Path, lag, p.Point.Epoch, p.Point.Position)}
	if p.Data.MaxLag > 0 && lag > p.Data.MaxLag.D() {
		f.Level, f.Do = LevelWarn, "see whether the primary still replicates, or only had nothing to write"
	}
	return f
}

// readyModel compares the version of the model in the store with the expected one.
func (a *Activities) readyModel(ctx context.Context, in CheckReadinessInput, t runbooks.Tier) []Finding {
	if in.Runbook.Version == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeLook)
	defer cancel()
	reading, err := a.Settings.Read(ctx, in.Runbook.Version.Expected)
	if err != nil {
		return []Finding{{Tier: t.Name, Check: "version", Level: LevelFail, What: "the expected version is not known: " + err.Error(), Do: "see whether the config center is up"}}
	}
	var found []Finding
	for _, v := range t.Volumes {
		content, err := a.Sources.Read(ctx, v.Source+"/VERSION")
		if err != nil {
			continue // not every model has one; the gate asks the loaded model itself
		}
		version := strings.TrimSpace(string(content))
		f := Finding{Tier: t.Name, Check: "version", Level: LevelOK, What: fmt.Sprintf("%s holds version %s", v.Source, version)}
		if version != reading.Single() {
			f.Level, f.Do = LevelFail, fmt.Sprintf("push version %s to %s: understudy volume push DIR %s", reading.Single(), v.Source, v.Source)
			f.What += ", expected " + reading.Single()
		}
		found = append(found, f)
	}
	return found
}

// readySlot asks whether the load balancer has a server for the tier.
func (a *Activities) readySlot(ctx context.Context, in CheckReadinessInput, t runbooks.Tier) []Finding {
	balancer, err := a.Balancers(in.Runbook.TrafficOf(t.Name))
	if err != nil {
		return []Finding{{Tier: t.Name, Check: "balancer", Level: LevelFail, What: err.Error()}}
	}
	ctx, cancel := context.WithTimeout(ctx, storeLook)
	defer cancel()
	view, err := balancer.View(ctx)
	if err != nil && len(view.Servers) == 0 {
		return []Finding{{Tier: t.Name, Check: "balancer", Level: LevelFail, What: err.Error(), Do: "see whether the load balancer runs, and may be asked from here"}}
	}
	s, ok := view.Server(t.Server)
	switch {
	case !ok:
		return []Finding{{Tier: t.Name, Check: "balancer", Level: LevelFail, What: fmt.Sprintf("it has no server %q", t.Server), Do: "add the server to its configuration"}}
	case err != nil:
		return []Finding{{Tier: t.Name, Check: "balancer", Level: LevelFail, What: err.Error(), Do: "bring all load balancers of the service to one state"}}
	case t.Hold && s.State == traffic.Ready && !s.Backup:
		return []Finding{{Tier: t.Name, Check: "balancer", Level: LevelWarn, What: t.Server + " takes traffic now, although the runbook holds it", Do: "disable the server at the load balancer"}}
	default:
		return []Finding{{Tier: t.Name, Check: "balancer", Level: LevelOK, What: fmt.Sprintf("%s is %s", t.Server, s.State)}}
	}
}

func (a *Activities) readyEpochs(ctx context.Context, in CheckReadinessInput) []Finding {
	if a.Epochs == nil {
		return []Finding{{Check: "epochs", Level: LevelWarn, What: "no epoch store is configured: two Understudys could not see each other", Do: "set epochs: in the site file"}}
	}
	known, err := a.ReadEpoch(ctx, ReadEpochInput{Service: in.Runbook.Service})
	switch {
	case err != nil:
		return []Finding{{Check: "epochs", Level: LevelFail, What: err.Error()}}
	case known.Away != "":
		return []Finding{{Check: "epochs", Level: LevelFail, What: known.Away, Do: "a hot switch goes on without the store; machines are not made"}}
	default:
		return []Finding{{Check: "epochs", Level: LevelOK, What: fmt.Sprintf("the store answers; epoch %d is the latest", known.Epoch)}}
	}
}

// checker is a chat that can be asked whether it would take a message.
type checker interface {
	Check(ctx context.Context, channel string) error
}

func (a *Activities) readyChats(ctx context.Context, in CheckReadinessInput) (found []Finding) {
	for _, n := range in.Runbook.Notify {
		messenger, ok := a.Chats[n.Kind]
		if !ok {
			found = append(found, Finding{Check: "chat", Level: LevelWarn, What: "the site file has no chat of kind " + n.Kind, Do: "set chat." + n.Kind + " in the site file"})
			continue
		}
		c, ok := messenger.(checker)
		if !ok {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, storeLook)
		err := c.Check(ctx, n.Channel)
		cancel()
		if err != nil {
			found = append(found, Finding{Check: "chat", Level: LevelWarn, What: fmt.Sprintf("%s %s: %v", n.Kind, n.Channel, err), Do: "nobody would be told; see the token and the channel"})
		} else {
			found = append(found, Finding{Check: "chat", Level: LevelOK, What: strings.TrimSpace(n.Kind + " " + n.Channel + " takes messages")})
		}
	}
	return found
}

func (a *Activities) readyDisk() []Finding {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(a.StateDir, &fs); err != nil {
		return []Finding{{Check: "disk", Level: LevelWarn, What: fmt.Sprintf("%s: %v", a.StateDir, err)}}
	}
	free := fs.Bavail * uint64(fs.Bsize)
	f := Finding{Check: "disk", Level: LevelOK, What: fmt.Sprintf("%.1f GB free at %s", float64(free)/1e9, a.StateDir)}
	if free < diskSpare {
		f.Level, f.Do = LevelWarn, "make room: the engine's file and the reports are there"
	}
	return []Finding{f}
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
