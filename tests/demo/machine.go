package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/fakeslack"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// machineStory is the value of DEMO for the story in which a real machine takes over.
	machineStory = "vm"
	// machineHistory is where the machine has its history of transcriptions.
	machineHistory = "/data/history.db"
	// bootPatience is how long a machine may take under emulation, on a busy computer.
	bootPatience = 5 * time.Minute
)

// machineMeans says what parts of the recovery time are where a machine boots.
var machineMeans = map[string]string{
	workflows.PartProvision: "until libvirt had the machine defined and started",
	workflows.PartBoot:      "until its kernel, its network and its first program ran",
	workflows.PartMount:     "until it had copied the model from S3 and proven it",
	workflows.PartRestore:   "until Litestream had restored the history in it",
}

// playMachine is the story of a machine that did not exist: both servers die,
// and it is made from an image, boots under QEMU, brings its model and the
// history from S3 itself, and takes the traffic.
func playMachine(ctx context.Context, s *show, dir string) error {
	if err := harness.FindVM(); err != nil {
		return err
	}
	maps.Copy(means, machineMeans)
	s.section("Understudy's demo: a speech service dies, and a machine that did not exist takes over")
	s.text(normal, "All of it is real: speech recognition, HAProxy, Prometheus, Alertmanager, Temporal, MinIO, Litestream, libvirt, QEMU, Linux. Only Slack is a fake.")

	s.section("The stage")
	t := newTimeline(s)
	parts := parts{show: s}
	parts.begin("image", "a disk with Linux and the recognizer, without a model; it is built when something in it has changed")
	machines, err := harness.SpeechMachines(ctx, io.Discard)
	if err != nil {
		s.progress("")
		return err
	}
	defer machines.Close()
	st, err := setMachineStage(ctx, &parts, machines, dir, t.slack)
	s.progress("")
	if err != nil {
		return err
	}
	defer st.close()
	parts.finish()
	s.text(normal, "The console, where people watch the boot as well: %s/", st.scene.Understudy.URL)

	s.section("Good times")
	c, err := openDoors(ctx, s, st)
	if err != nil {
		return err
	}
	c.close()
	s.text(normal, "They wait from now on: on an emulated processor each answer takes seconds, and the machine needs it to boot.")

	s.section("Both servers die")
	p, err := killBoth(ctx, s, st, t)
	if err != nil {
		return err
	}
	keeps := s.live && os.Getenv("DEMO_ONCE") == ""
	end := showMachine(ctx, s, st, p, keeps)
	if keeps {
		s.blank()
		s.text(dim, "Everything stays up for a look around. Ctrl-C ends it.")
		<-ctx.Done()
	}
	return end
}

// setMachineStage starts every part, with a cold tier whose standby is a real machine.
func setMachineStage(ctx context.Context, parts *parts, machines *harness.Machines, dir string, onSlack func(fakeslack.Change)) (st *stage, err error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	st = &stage{dir: dir}
	defer func() {
		if err != nil {
			st.close()
		}
	}()
	st.scene, err = harness.StartScene(ctx, harness.SceneOptions{
		Dir: dir, Service: service, Held: true, Cold: true, History: true, OnSlack: onSlack, Env: machines.Env, Told: parts.begin,
		Inter: time.Second, Fall: 5, // a guest under emulation is late now and then
		Edit: func(r *runbooks.Runbook, site *runbooks.Site) { machineFiles(machines, r, site) },
	})
	if err != nil {
		return st, err
	}
	st.runbook = st.scene.Runbook
	parts.begin("Alertmanager", "sends what Prometheus raises to Understudy")
	if st.alertmanager, err = harness.Alertmanager(ctx, harness.AlertmanagerOptions{
		Dir: dir, Name: "alertmanager", Port: alertmanagerPort, Webhook: st.scene.Understudy.URL + "/api/v1/alerts", Interval: time.Second, Repeat: time.Minute,
	}); err != nil {
		return st, err
	}
	parts.begin("Prometheus", fmt.Sprintf("looks at both servers every %s, once it has begun", scrapeEvery))
	if st.prometheus, err = harness.Prometheus(ctx, harness.PrometheusOptions{
		Dir: dir, Port: prometheusPort, Every: scrapeEvery, Alertmanagers: []*harness.AlertmanagerServer{st.alertmanager},
		Targets:  map[string]string{service: harness.Address(st.scene.Primary.Options.Port)},
		Standbys: map[string]string{service: harness.Address(st.scene.Hot.Options.Port)},
	}); err != nil {
		return st, err
	}
	return st, st.awaitScrape(ctx)
}

// machineFiles makes runbook and site file those of the story.
func machineFiles(machines *harness.Machines, r *runbooks.Runbook, site *runbooks.Site) {
	for name, store := range site.S3 {
		site.S3[name] = harness.ForGuests(store)
	}
	at := slices.IndexFunc(r.Tiers, func(t runbooks.Tier) bool { return t.Name == runbooks.TierCold })
	r.Tiers[at] = machines.Tier(r.Tiers[at].Volumes[0].Source, harness.FreePort(), "--history", machineHistory)
	r.Tiers[at].Objectives = &runbooks.Objectives{RTO: runbooks.Duration(time.Minute), RPO: runbooks.Duration(5 * time.Second)}
	r.Data[0].Path = machineHistory
	// An emulated processor takes seconds for what takes a sixth of one here.
	r.Canary.Timeout = runbooks.Duration(time.Minute)
}

// killBoth kills primary and hot standby, and shows what happens until a machine has taken over.
func killBoth(ctx context.Context, s *show, st *stage, t *timeline) (played, error) {
	earlier, err := recoveries(ctx, st.scene.Understudy)
	if err != nil {
		return played{}, err
	}
	pid, kill := st.kill(runbooks.PrimaryName)
	other, _ := st.kill(runbooks.TierHot)
	t.begin(kill)
	t.add(news{kill, runbooks.PrimaryName, fmt.Sprintf("kill -9 of process %d, and of the hot standby's, %d", pid, other), bad})
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	go watchBalancer(watching, st.scene, t)
	p, asked, told := played{act: act{victim: runbooks.PrimaryName, tier: runbooks.TierCold}, kill: kill}, time.Time{}, ""
	err = await(ctx, bootPatience, redraw, func() (bool, error) {
		if time.Since(asked) >= lookAtRecovery {
			asked = time.Now()
			if found, err := look(ctx, st.scene.Understudy, earlier); err == nil {
				p.recovery = found
				t.recovery(found.ID, found.Report)
				told = t.boot(found.Report, told)
			}
		}
		t.flush(false)
		s.progress("%5.1f s   %s", time.Since(kill).Seconds(), told)
		return !p.recovery.Report.Ended.IsZero(), st.died()
	})
	t.flush(true)
	s.progress("")
	if err != nil && p.recovery.ID == "" {
		err = fmt.Errorf("no recovery began: %w", err)
	}
	return p, err
}

// boot tells where a machine's boot is, where that has changed.
func (t *timeline) boot(r workflows.Report, told string) string {
	for _, rec := range r.Timeline {
		if rec.Step == runbooks.StepLoad && rec.State == workflows.InProgress && rec.Reason != told {
			told = rec.Reason
			if _, where, boots := strings.Cut(told, "its boot: "); boots {
				t.add(news{time.Now(), "the machine", "boots: " + where, normal})
			}
		}
	}
	return told
}

// showMachine shows what the story comes to, and returns nil where it ended as it should.
func showMachine(ctx context.Context, s *show, st *stage, p played, keeps bool) error {
	all := []played{p}
	s.section("What people saw in Slack")
	slack := showSlack(ctx, s, st, all)
	reports, failed := keepReports(st, all)
	r := p.recovery.Report
	if r.Made != nil {
		s.section("The machine")
		s.row(cell{"name", 14, dim}, cell{text: r.Made.Machine.ID})
		s.row(cell{"image", 14, dim}, cell{text: r.Made.Where})
		s.row(cell{"address", 14, dim}, cell{text: r.Made.Address})
		for _, rec := range r.Timeline {
			if rec.Step == runbooks.StepLoad && rec.Tier == r.Tier {
				s.row(cell{"boot", 14, dim}, cell{text: rec.Reason})
			}
		}
	}
	showLinks(s, st, all, reports, keeps)
	s.section("Where the time went")
	showTimes(s, p, objectivesOf(st.runbook, p.tier))
	s.blank()
	showOutcome(s, p, tally{})
	if !p.recovered() {
		return errors.Join(fmt.Errorf("%w: a machine should have taken over: %s: %s", errStory, r.Outcome, r.Reason), slack, failed)
	}
	return errors.Join(slack, failed)
}
