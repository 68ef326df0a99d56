package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

// vmPatience is how long a machine may take under emulation before the benchmark gives up.
const vmPatience = 4 * time.Minute

// vmWaits are the steps in which Understudy waits for a machine: for the
// hypervisor that defines and starts it, for its boot, which brings the model,
// and for its model that transcribes.
var vmWaits = []string{runbooks.StepProvision, runbooks.StepBoot, runbooks.StepLoad, runbooks.StepProve, runbooks.StepVerify}

// vmTimes are those of a standby that is a real machine.
type vmTimes struct {
	verified, ready, own sample
	steps                map[string]sample
	reports              []workflows.Report
}

// vmStandby measures until a real machine has the traffic, verified: it boots
// from an image under QEMU, copies its model from S3 and proves it, and loads it.
func vmStandby(ctx context.Context, b *bench) (group, error) {
	if err := harness.FindVM(); err != nil {
		return group{}, fmt.Errorf("%w: %w", errMissing, err)
	}
	b.tell("the image of the machine")
	machines, err := harness.SpeechMachines(ctx, io.Discard)
	if err != nil {
		return group{}, err
	}
	defer machines.Close()
	times := vmTimes{steps: map[string]sample{}}
	for repeat := range b.repeats {
		b.tell("repeat %d of %d", repeat+1, b.repeats)
		if err := b.vmOnce(ctx, machines, filepath.Join(b.dir, fmt.Sprintf("vm-%d", repeat)), &times); err != nil {
			return group{}, err
		}
	}
	return times.group(b.repeats), nil
}

func (b *bench) vmOnce(ctx context.Context, machines *harness.Machines, dir string, times *vmTimes) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	s, err := harness.StartScene(ctx, harness.SceneOptions{
		Dir: dir, Cold: true, Held: true, Env: machines.Env, Inter: time.Second, Fall: 5, // a guest under emulation is late now and then
		Edit: func(r *runbooks.Runbook, site *runbooks.Site) {
			cold, _ := r.TierNamed(runbooks.TierCold)
			r.Tiers = []runbooks.Tier{machines.Tier(cold.Volumes[0].Source, harness.FreePort())}
			r.Canary.Timeout = runbooks.Duration(time.Minute)
			for name, store := range site.S3 {
				site.S3[name] = harness.ForGuests(store)
			}
		},
	})
	if err != nil {
		return err
	}
	defer s.Stop()
	s.Primary.Kill()
	s.Hot.Kill()
	pause(ctx, rest)
	began := time.Now()
	if err := sendAlert(ctx, s.Understudy.URL+"/api/v1/alerts", s.Runbook.Service); err != nil {
		return err
	}
	r, err := coldReport(ctx, s, vmPatience)
	if err != nil {
		return err
	}
	times.verified = append(times.verified, r.Verified.Sub(began))
	times.ready = append(times.ready, step(r, runbooks.StepLoad).Ended.Sub(step(r, runbooks.StepProvision).Started))
	times.own = append(times.own, ownShare(r, began, vmWaits))
	for _, name := range vmWaits {
		rec := step(r, name)
		times.steps[name] = append(times.steps[name], rec.Ended.Sub(rec.Started))
	}
	times.reports = append(times.reports, r)
	provision := *s.Runbook.Tiers[0].Provision
	left, err := machines.Provider.List(ctx, provision, s.Runbook.Service)
	for _, m := range left {
		err = errors.Join(err, machines.Provider.Terminate(ctx, compute.Ref{ID: m.ID, Key: m.Key, Provision: provision, Placement: provision.Placements[0]}))
	}
	return err
}

func (t vmTimes) group(repeats int) group {
	g := group{title: "webhook in, a real machine made, verified", columns: []string{"Understudy"}}
	g.rows = []row{
		{"verified answer, median", []string{t.verified.cell(0.5)}, "15 s"},
		{"verified answer, worst", []string{t.verified.cell(1)}, "15 s"},
		{"from order to ready, median", []string{t.ready.cell(0.5)}, ""},
		{"of it Understudy's own, median", []string{t.own.cell(0.5)}, "1 s"},
		{"of it Understudy's own, worst", []string{t.own.cell(1)}, "1 s"},
	}
	var course []string
	for _, name := range vmWaits {
		course = append(course, name+" "+t.steps[name].cell(0.5))
	}
	var parts []string
	for _, share := range t.reports[len(t.reports)-1].Breakdown {
		parts = append(parts, fmt.Sprintf("%s %.1f s", share.Name, share.Seconds))
	}
	g.method = []string{
		"Primary and hot standby are dead. A slim machine boots from its image under QEMU, which emulates the processor; it copies a model of",
		"37 MB from MinIO by s3fs, compares every byte with its manifest, and loads it into a real recognizer; that transcribes, gets the",
		"traffic at HAProxy, and transcribes again through the front door. Own: all but the steps in which hypervisor, machine and model are waited for.",
	}
	g.notes = []string{
		fmt.Sprintf("Repeats: %d. Where its time went, at the median: %s.", repeats, strings.Join(course, ", ")),
		"The recovery time of the last repeat: " + strings.Join(parts, ", ") + ".",
		"Its boot: " + step(t.reports[len(t.reports)-1], runbooks.StepLoad).Reason + ".",
	}
	return g
}
