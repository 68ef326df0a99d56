package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/triggers"
)

const (
	// warmUp is how many good answers the clients get before the primary is killed.
	warmUp = 12
	// patience is how long the demo waits for something that should happen within seconds.
	patience = time.Minute
	// The looks at HAProxy cost next to nothing; a look at a recovery is a query to its workflow, which has better things to do.
	lookAtBalancer = 50 * time.Millisecond
	lookAtRecovery = 250 * time.Millisecond
	redraw         = 100 * time.Millisecond
)

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
	err = await(ctx, redraw, func() (bool, error) {
		t := c.tally()
		s.progress("%s", t)
		return t.primary >= warmUp, st.died()
	})
	s.progress("")
	t := c.tally()
	if err != nil {
		c.close()
		if len(t.failed) > 0 {
			err = fmt.Errorf("%w; the clients' last failure: %s", err, t.failed[len(t.failed)-1].failure)
		}
		return nil, fmt.Errorf("the service is not in use: %w", err)
	}
	s.text(normal, "%d answers so far, all right and all from the primary; half of them within %.2f s.", t.primary, t.median.Seconds())
	return c, nil
}

// tragedy kills the primary and shows what happens, until the recovery is over.
func tragedy(ctx context.Context, s *show, st *stage, t *timeline, c *clients) (recovery triggers.RecoveryDetail, err error) {
	pid := st.scene.Primary.PID()
	t.zero = time.Now()
	st.scene.Primary.Kill()
	t.add(news{t.zero, "primary", fmt.Sprintf("kill -9 of process %d", pid), bad})

	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	go watchBalancer(watching, st.scene, t)
	asked := time.Time{}
	err = await(ctx, redraw, func() (bool, error) {
		if time.Since(asked) >= lookAtRecovery {
			asked = time.Now()
			if found, err := look(ctx, st.scene.Understudy); err == nil {
				recovery = found
				t.recovery(found.ID, found.Report)
			}
		}
		t.flush(false)
		s.progress("%5.1f s after the kill   %s", time.Since(t.zero).Seconds(), c.tally())
		return recovery.Report.Outcome != "", st.died()
	})
	t.flush(true)
	s.progress("")
	if err != nil && recovery.ID == "" {
		return recovery, fmt.Errorf("no recovery began: %w", err)
	}
	return recovery, err
}

// look finds the newest recovery, with its report as it stands.
func look(ctx context.Context, u *harness.Understudy) (detail triggers.RecoveryDetail, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	all, err := recoveries(ctx, u)
	if err != nil {
		return detail, err
	}
	if len(all) == 0 {
		return detail, fmt.Errorf("no recovery yet")
	}
	return detail, u.Get(ctx, "/api/v1/recoveries/"+all[0].ID, &detail)
}

func recoveries(ctx context.Context, u *harness.Understudy) (all []triggers.Recovery, err error) {
	return all, u.Get(ctx, "/api/v1/recoveries?service="+service, &all)
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

// await asks again and again until the answer is yes or an error, for as long as the demo has patience.
func await(ctx context.Context, every time.Duration, ask func() (bool, error)) error {
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
