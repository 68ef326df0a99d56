package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// warmUp is how many good answers the clients get from a server before it is killed.
	warmUp = 12
	// patience is how long the demo waits for something that should happen within seconds.
	patience = time.Minute
	// actPatience is the same for a whole act: a tier may take its time, and then somebody waits for the commit.
	actPatience = 3 * time.Minute
	// The looks at HAProxy cost next to nothing; a look at a recovery is a query to its workflow, which has better things to do.
	lookAtBalancer = 50 * time.Millisecond
	lookAtRecovery = 250 * time.Millisecond
	redraw         = 100 * time.Millisecond
)

// act is one part of the story: a server dies, and the service comes back on another tier.
type act struct {
	title string
	// victim is the server that dies, tier where the service goes.
	victim, tier string
}

var acts = []act{
	{"The primary dies", runbooks.PrimaryName, runbooks.TierHot},
	{"The hot standby dies too", runbooks.TierHot, runbooks.TierCold},
}

// played is an act as it went.
type played struct {
	act
	kill     time.Time
	recovery triggers.RecoveryDetail
}

// name is the victim's, as people say it.
func (a act) name() string {
	if a.victim == runbooks.PrimaryName {
		return "the primary"
	}
	return "the " + a.victim + " standby"
}

// recovered reports whether the service came back where it should.
func (p played) recovered() bool {
	r := p.recovery.Report
	return r.Outcome == workflows.OutcomeRecovered && r.Tier == p.tier && !r.Verified.IsZero()
}

// openDoors starts the stream of requests, and waits until it is under way.
func openDoors(ctx context.Context, s *show, st *stage) (*clients, error) {
	recording, err := os.ReadFile(filepath.Join(st.dir, harness.Recording))
	if err != nil {
		return nil, err
	}
	c, err := startClients(ctx, st.scene.Front, recording)
	if err != nil {
		return nil, err
	}
	s.text(normal, "%d clients send a recording of spoken digits through the front door every %s, and read the answer.", clientCount, beat)
	err = await(ctx, patience, redraw, func() (bool, error) {
		t := c.all()
		s.progress("%s", t)
		return t.by[runbooks.PrimaryName] >= warmUp, st.died()
	})
	s.progress("")
	t := c.all()
	if err != nil {
		c.close()
		if len(t.failed) > 0 {
			err = fmt.Errorf("%w; the clients' last failure: %s", err, t.failed[len(t.failed)-1].failure)
		}
		return nil, fmt.Errorf("the service is not in use: %w", err)
	}
	s.text(normal, "%d answers so far, all right and all from the primary; half of them within %.2f s.", t.by[runbooks.PrimaryName], t.median.Seconds())
	return c, nil
}

// playActs plays one act after the other, up to one that does not end well.
func playActs(ctx context.Context, s *show, st *stage, t *timeline, c *clients, b *batch) (all []played, err error) {
	for _, a := range acts {
		if len(all) > 0 {
			if err := interlude(ctx, s, st, c, b, a.victim); err != nil {
				return all, err
			}
		}
		s.section(a.title)
		p, err := tragedy(ctx, s, st, t, c, b, a)
		if err != nil {
			return all, err
		}
		if all = append(all, p); !p.recovered() {
			break
		}
	}
	return all, nil
}

// interlude waits until the cooldown is over and a standby has been in use for a while.
func interlude(ctx context.Context, s *show, st *stage, c *clients, b *batch, standby string) error {
	s.section("The " + standby + " standby serves")
	err := await(ctx, patience, lookAtRecovery, func() (bool, error) {
		t := c.all()
		s.progress("%s   %s", t, b)
		if _, err := b.look(ctx); err != nil {
			return false, st.died() // it is asked again
		}
		var detail triggers.ServiceDetail
		if err := st.scene.Understudy.Get(ctx, "/api/v1/services/"+service, &detail); err != nil {
			return false, st.died() // it is asked again
		}
		g := detail.Guard
		return t.by[standby] >= warmUp && g.Running == nil && g.Active == standby && time.Now().After(g.CooldownUntil), st.died()
	})
	s.progress("")
	if err != nil {
		return fmt.Errorf("the %s standby is not in use: %w", standby, err)
	}
	rows, err := readRows(ctx, st.scene.History)
	if err != nil {
		return err
	}
	s.text(normal, "%d answers from it so far. The history has %d transcriptions by now; Litestream replicates each to S3.", c.all().by[standby], len(rows))
	now := b.seen()
	s.text(normal, "The batch has %d of %d recordings done.", now.Succeeded, now.Items)
	return nil
}

// tragedy kills a server and shows what happens, until the recovery is over.
func tragedy(ctx context.Context, s *show, st *stage, t *timeline, c *clients, b *batch, a act) (played, error) {
	earlier, err := recoveries(ctx, st.scene.Understudy)
	if err != nil {
		return played{}, err
	}
	pid, kill := st.kill(a.victim)
	t.begin(kill)
	t.add(news{kill, a.victim, fmt.Sprintf("kill -9 of process %d", pid), bad})
	p, err := follow(ctx, s, st, t, c, b, a, kill, earlier)
	if err != nil && p.recovery.ID == "" {
		return p, fmt.Errorf("no recovery began: %w", err)
	}
	return p, err
}

// follow shows what happens since a moment, until the recovery that it leads to is over.
func follow(ctx context.Context, s *show, st *stage, t *timeline, c *clients, b *batch, a act, since time.Time, earlier []triggers.Recovery) (played, error) {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	go watchBalancer(watching, st.scene, t)
	go b.watch(watching, t)
	p, asked := played{act: a, kill: since}, time.Time{}
	err := await(ctx, actPatience, redraw, func() (bool, error) {
		if time.Since(asked) >= lookAtRecovery {
			asked = time.Now()
			if found, err := look(ctx, st.scene.Understudy, earlier); err == nil {
				p.recovery = found
				t.recovery(found.ID, found.Report)
			}
		}
		t.flush(false)
		s.progress("%5.1f s   %s   %s", time.Since(since).Seconds(), c.all(), b)
		return !p.recovery.Report.Ended.IsZero(), st.died()
	})
	t.flush(true)
	s.progress("")
	return p, err
}

// look finds the newest recovery that is none of the earlier ones, with its report as it stands.
func look(ctx context.Context, u *harness.Understudy, earlier []triggers.Recovery) (detail triggers.RecoveryDetail, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	all, err := recoveries(ctx, u)
	if err != nil {
		return detail, err
	}
	if len(all) <= len(earlier) {
		return detail, fmt.Errorf("no recovery yet")
	}
	return detail, u.Get(ctx, "/api/v1/recoveries/"+all[0].ID, &detail)
}

// recoveries lists the recoveries, the newest first. False alarms are left out: on a busy machine Prometheus may get no
// answer in time from a server that is well.
func recoveries(ctx context.Context, u *harness.Understudy) (all []triggers.Recovery, err error) {
	var list []triggers.Recovery
	err = u.Get(ctx, "/api/v1/recoveries?service="+service, &list)
	for _, r := range list {
		if r.Outcome != workflows.OutcomeFalseAlarm {
			all = append(all, r)
		}
	}
	return all, err
}

// watchBalancer tells the timeline what changes at HAProxy.
func watchBalancer(ctx context.Context, scene *harness.Scene, t *timeline) {
	before := map[string]string{}
	for ctx.Err() == nil {
		if now, err := scene.Servers(ctx); err == nil {
			t.balancer(now, before)
			before = now
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookAtBalancer):
		}
	}
}

// await asks again and again until the answer is yes or an error, for as long as there is patience.
func await(ctx context.Context, patience, every time.Duration, ask func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%w for %s", errQuiet, patience))
	defer cancel()
	for {
		done, err := ask()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(every):
		}
	}
}

// get reads JSON from a URL.
func get(ctx context.Context, url string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}
