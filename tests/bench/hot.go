package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// hotPatience is how long one recovery may take before the benchmark gives up.
	hotPatience = 30 * time.Second
	// rest lets what one contestant still does in the background end before the next one's turn.
	rest = 100 * time.Millisecond
	// blockOf rounds share one Understudy: services that were recovered are watched from then on, and a real
	// Understudy seldom watches more than a few.
	blockOf = 10
	// syncsPerRound are looks at the disk in each round.
	syncsPerRound = 5
)

// The contestants, which take turns. Each outage is that of a service of its own.
const (
	withCanary = "canary" // Understudy, which proves the standby by a canary
	withHealth = "health" // Understudy, by a runbook without canary: it proves by the health check
	bareLoop   = "bare"   // the executor with its script
)

var contestants = []string{withCanary, withHealth, bareLoop}

// milestone is a moment of a recovery.
type milestone struct {
	what string
	at   func(r workflows.Report) time.Time
}

// milestones in their order; the first one, the webhook's answer, is timed by who sent it.
var milestones = []milestone{
	{"recovery began", func(r workflows.Report) time.Time { return r.Started }},
	{"diagnosed", func(r workflows.Report) time.Time { return step(r, runbooks.StepDiagnose).Ended }},
	{"cut-over began", func(r workflows.Report) time.Time { return step(r, runbooks.StepCutOver).Started }},
	{"traffic moved", func(r workflows.Report) time.Time { return step(r, runbooks.StepCutOver).Ended }},
	{"proof began", func(r workflows.Report) time.Time { return step(r, runbooks.StepVerify).Started }},
	{"verified", func(r workflows.Report) time.Time { return r.Verified }},
}

// hotTimes are one contestant's times, all since the webhook was sent.
type hotTimes struct {
	taken, moved, verified, proof sample
	milestones                    []sample
}

// hotSwitch measures from the webhook until the hot standby has the traffic, and until that is verified.
func hotSwitch(ctx context.Context, b *bench) (group, error) {
	times := map[string]*hotTimes{}
	for _, name := range contestants {
		times[name] = &hotTimes{milestones: make([]sample, len(milestones))}
	}
	for done := 0; done < b.rounds; done += blockOf {
		if err := b.hotBlock(ctx, done, min(blockOf, b.rounds-done), times); err != nil {
			return group{}, err
		}
	}
	return b.hotGroup(times), nil
}

// outage is one that Understudy was told of; its report is read once nobody is measured any more.
type outage struct {
	service     string
	began, took time.Time
	times       *hotTimes
}

// hotBlock plays some rounds with parts of their own.
func (b *bench) hotBlock(ctx context.Context, done, rounds int, times map[string]*hotTimes) error {
	c, err := start(ctx, filepath.Join(b.dir, fmt.Sprintf("hot-%d", done)), func(ctx context.Context, dir string) (*cast, error) {
		return setCast(ctx, dir, rounds)
	})
	if err != nil {
		return err
	}
	defer c.close()
	var outages []outage
	for round := range rounds {
		b.tell("round %d of %d", done+round+1, b.rounds)
		for turn := range contestants {
			name := contestants[(done+round+turn)%len(contestants)] // who goes first changes
			o := outage{service: serviceName(name, round), times: times[name]}
			if err := c.fail(ctx, name, &o); err != nil {
				return fmt.Errorf("%s: %w", o.service, err)
			}
			if name != bareLoop {
				outages = append(outages, o)
			}
			pause(ctx, rest)
		}
		if err := b.disk.measure(syncsPerRound); err != nil {
			return err
		}
	}
	for _, o := range outages {
		if err := c.read(ctx, o); err != nil {
			return fmt.Errorf("%s: %w", o.service, err)
		}
	}
	return nil
}

// fail lets the primary of a service die, tells who is to help, and waits until it is done.
func (c *cast) fail(ctx context.Context, name string, o *outage) error {
	ctx, cancel := context.WithTimeout(ctx, hotPatience)
	defer cancel()
	if err := c.primaries[o.service].Close(); err != nil {
		return err
	}
	o.began = time.Now()
	if name == bareLoop {
		if err := sendAlert(ctx, c.executor.url, o.service); err != nil {
			return err
		}
		o.times.moved = append(o.times.moved, time.Since(o.began))
		return c.answered(ctx, o.service)
	}
	if err := sendAlert(ctx, c.understudy.URL+"/api/v1/alerts", o.service); err != nil {
		return err
	}
	o.took = time.Now()
	select {
	case <-c.proven[o.service]:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the canary never came through the front door: %w\n%s", ctx.Err(), c.understudy.Tail(4000))
	}
}

// read takes the times of a recovery from its report.
func (c *cast) read(ctx context.Context, o outage) error {
	var service triggers.ServiceDetail
	if err := c.understudy.Get(ctx, "/api/v1/services/"+o.service, &service); err != nil {
		return err
	}
	var recovery triggers.RecoveryDetail
	if err := c.understudy.Get(ctx, fmt.Sprintf("/api/v1/recoveries/%s-%d", o.service, service.Guard.Epoch), &recovery); err != nil {
		return err
	}
	r, t := recovery.Report, o.times
	if r.Verified.IsZero() || r.Tier != runbooks.TierHot {
		return fmt.Errorf("it was not recovered on the hot standby:\n%s", r.Markdown())
	}
	proof := step(r, runbooks.StepVerify)
	t.taken = append(t.taken, o.took.Sub(o.began))
	t.moved = append(t.moved, step(r, runbooks.StepCutOver).Ended.Sub(o.began))
	t.verified = append(t.verified, r.Verified.Sub(o.began))
	t.proof = append(t.proof, proof.Ended.Sub(proof.Started))
	for i, m := range milestones {
		t.milestones[i] = append(t.milestones[i], m.at(r).Sub(o.began))
	}
	return nil
}

// step finds a step that was done.
func step(r workflows.Report, name string) workflows.Record {
	for _, rec := range r.Timeline {
		if rec.Step == name && rec.State == workflows.Done {
			return rec
		}
	}
	return workflows.Record{}
}

// less takes a second duration off each of the first.
func less(all, part sample) sample {
	left := make(sample, len(all))
	for i := range all {
		left[i] = all[i] - part[i]
	}
	return left
}

func (b *bench) hotGroup(times map[string]*hotTimes) group {
	canary, health, bare := times[withCanary], times[withHealth], times[bareLoop]
	g := group{title: "webhook in, traffic on the hot standby", columns: []string{"Understudy", "bare script", "one fsync"}}
	add := func(what string, ours, bare sample, p50, p99 string) {
		g.rows = append(g.rows,
			row{what + ", p50", []string{ours.p50(), bare.p50(), b.disk.syncs.p50()}, p50},
			row{what + ", p99", []string{ours.p99(), bare.p99(), b.disk.syncs.p99()}, p99})
	}
	add("traffic is moved", canary.moved, bare.moved, "", "")
	add("and verified, canary time left out", less(canary.verified, canary.proof), nil, "40 ms", "300 ms")
	add("and verified, with the canary", canary.verified, nil, "", "")
	add("by a runbook without canary: verified", health.verified, nil, "", "")
	course := "Its course at the median: webhook answered after " + canary.taken.p50()
	for i, m := range milestones {
		course += ", " + m.what + " " + canary.milestones[i].p50()
	}
	g.method = []string{
		"Outages take turns between the contestants. The primary is closed, then the webhook is sent; time runs from there.",
		"Understudy: the real program with its engine on a file, real HAProxy, speech servers that answer at once. Every step is on disk",
		"before the next one; the alert is deduplicated, the standby gated (health, version), the switch read back, a canary sent through.",
		"bare script: an executor that runs a shell script for each webhook (curl, curl, socat). It keeps, proves and reads back nothing.",
		"The figure to beat is meant for a disk whose fsync takes at most 0.5 ms. With 100 outages or fewer p99 is the slowest.",
	}
	g.notes = []string{fmt.Sprintf("%d outages each. %s.", len(bare.moved), course)}
	return g
}
