package e2e

import (
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

// A load balancer with a backup server moves by itself when the primary crashes.
// Understudy must cost not one request more: the same callers ask two equal
// sites, of which only one is looked after.
func TestACrashCostsNoMoreRequestsThanHAProxyAlone(t *testing.T) {
	abreast(t)
	sites := map[string]*harness.Scene{
		"alone":        setScene(t, harness.SceneOptions{Without: true}),
		"looked after": setScene(t, harness.SceneOptions{}),
	}
	const callers = 4
	failed := map[string]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, s := range sites {
		crowd := make([]*caller, callers)
		for i := range crowd {
			crowd[i] = call(t, s.Front, 10*time.Second)
		}
		wg.Go(func() {
			for _, c := range crowd {
				c.answers(t, 20)
			}
			// A request that the primary holds when it dies is lost at both sites; let there be none.
			everybody(crowd, s.Primary.Kill)
			if s.Understudy != nil {
				alert(t, s.Understudy, "firing", time.Now())
			}
			for _, c := range crowd {
				c.answers(t, 100)
			}
			if s.Understudy != nil {
				wantOutcome(t, ended(t, s.Understudy, 1), workflows.OutcomeRecovered, string(runbooks.Dead))
			}
			for _, c := range crowd {
				c.answers(t, 20)
				c.end()
				_, lost := c.counts()
				mu.Lock()
				failed[name] += lost
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed["looked after"] > failed["alone"] {
		t.Errorf("with Understudy %d requests failed, with HAProxy alone %d", failed["looked after"], failed["alone"])
	}
	t.Logf("failed requests: %v", failed)
	servers(t, sites["looked after"], "MAINT", "UP")
	servers(t, sites["alone"], "DOWN", "UP")
}

// everybody does something while no caller has a request under way.
func everybody(crowd []*caller, do func()) {
	if len(crowd) == 0 {
		do()
		return
	}
	crowd[0].between(func() { everybody(crowd[1:], do) })
}
