package heartbeat_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers/heartbeat"
)

func TestHowSoonAFailureIsSeen(t *testing.T) {
	for finding, within := range map[runbooks.Finding]time.Duration{
		// The first probe after the hang, two more each half a timeout later, and the timeout of the last.
		runbooks.Silent:      interval + 2*timeout/2 + timeout,
		runbooks.Unreachable: interval + 2*timeout/2 + timeout,
		// What fails at once has its interval to come back.
		runbooks.Refuses: 3 * interval,
		runbooks.Errors:  3 * interval,
	} {
		t.Run(string(finding), func(t *testing.T) {
			beat(t, asr(), nil, func(t *testing.T, w *world, _ *heartbeat.Heartbeat) {
				time.Sleep(time.Minute)
				before := w.probed("http://asr")
				if before < 119 || before > 127 || w.highest != 1 {
					t.Errorf("%d probes in a minute, up to %d at once", before, w.highest)
				}
				down := time.Now()
				w.change(func() { w.finds["http://asr"] = finding })
				time.Sleep(time.Minute)
				asks := w.requests()
				if len(asks) != 1 {
					t.Fatalf("asked %d times", len(asks))
				}
				a := asks[0]
				if took := a.at.Sub(down); took > within+20*time.Millisecond || took < within-interval-40*time.Millisecond {
					t.Errorf("asked after %s, within %s was to be had", took, within)
				}
				if a.Since.Before(down) || a.Since.Sub(down) > interval || a.Service != "asr" || !strings.Contains(a.Reason, "3 heartbeats in a row failed at primary") || !strings.Contains(a.Reason, string(finding)) {
					t.Errorf("asked for %+v, down since %s", a, down)
				}
				if n := w.probed("http://asr"); n-before > 3*failures {
					t.Errorf("%d probes while a recovery ran", n-before)
				}
			})
		})
	}
}

// A pause that ends before so many probes have failed is none.
func TestHiccupsAreNoFailures(t *testing.T) {
	for name, hiccup := range map[string]struct {
		finding runbooks.Finding
		lasts   time.Duration
	}{
		"a stall":                     {runbooks.Silent, timeout + timeout/2},
		"a restart":                   {runbooks.Refuses, interval},
		"trouble of our own":          {runbooks.Blind, time.Minute},
		"slow answers":                {runbooks.Slow, time.Minute},
		"a network that loses things": {runbooks.Unreachable, timeout},
	} {
		t.Run(name, func(t *testing.T) {
			beat(t, asr(), nil, func(t *testing.T, w *world, _ *heartbeat.Heartbeat) {
				for range 20 {
					time.Sleep(10*time.Second + 77*time.Millisecond)
					w.change(func() { w.finds["http://asr"] = hiccup.finding })
					time.Sleep(hiccup.lasts)
					w.change(func() { w.finds["http://asr"] = runbooks.Answers })
				}
				if asks := w.requests(); len(asks) > 0 {
					t.Errorf("asked for %+v", asks)
				}
			})
		})
	}
}

// A machine that has no time for its looks cannot tell who is mute.
func TestOurOwnMachineIsSlow(t *testing.T) {
	beat(t, asr(), nil, func(t *testing.T, w *world, _ *heartbeat.Heartbeat) {
		w.change(func() { w.finds["http://asr"], w.starved = runbooks.Silent, 200*time.Millisecond })
		time.Sleep(time.Minute)
		if asks := w.requests(); len(asks) > 0 {
			t.Errorf("asked for %+v", asks)
		}
		w.change(func() { w.starved = 0 })
		time.Sleep(5 * time.Second)
		if asks := w.requests(); len(asks) != 1 {
			t.Errorf("when it is well again: %+v", asks)
		}
	})
}

func TestItFollowsTheActive(t *testing.T) {
	beat(t, asr(), nil, func(t *testing.T, w *world, h *heartbeat.Heartbeat) {
		time.Sleep(5 * time.Second)
		// Somebody has moved the service; the primary is taken down after. Nothing is wrong with that.
		hot := heartbeat.Active{Target: runbooks.Target{Name: "hot", URL: "http://hot", Server: "hot"}}
		w.change(func() { w.actives["asr"], w.finds["http://asr"] = hot, runbooks.Refuses })
		time.Sleep(10 * time.Second)
		if asks := w.requests(); len(asks) > 0 || w.probed("http://hot") < 10 {
			t.Errorf("asked for %+v, the new active was probed %d times", asks, w.probed("http://hot"))
		}
		// It comes home, and the heartbeat is told so.
		home := w.probed("http://asr")
		w.change(func() { delete(w.actives, "asr"); delete(w.finds, "http://asr") })
		h.Moved("asr")
		h.Moved("unknown")
		time.Sleep(5 * time.Second)
		if n := w.probed("http://asr") - home; n < 9 {
			t.Errorf("probed at home %d times in 5 s", n)
		}
		// Moves of which nobody tells are found out within about a minute.
		w.change(func() { w.actives["asr"] = hot })
		time.Sleep(61 * time.Second)
		before := w.probed("http://hot")
		w.change(func() { w.finds["http://hot"] = runbooks.Silent })
		time.Sleep(5 * time.Second)
		if asks := w.requests(); len(asks) != 1 || before < 11 || !strings.Contains(asks[0].Reason, "failed at hot") {
			t.Errorf("asked for %+v", asks)
		}
	})
}

func TestNothingIsAskedWhileARecoveryRuns(t *testing.T) {
	beat(t, asr(), nil, func(t *testing.T, w *world, h *heartbeat.Heartbeat) {
		time.Sleep(5 * time.Second)
		target := runbooks.Target{Name: "primary", URL: "http://asr"}
		w.change(func() {
			w.finds["http://asr"], w.actives["asr"] = runbooks.Silent, heartbeat.Active{Target: target, Recovering: true}
		})
		time.Sleep(time.Minute)
		if asks := w.requests(); len(asks) > 0 {
			t.Fatalf("asked for %+v", asks)
		}
		before := w.probed("http://asr")
		time.Sleep(time.Minute)
		if n := w.probed("http://asr") - before; n > 0 {
			t.Errorf("probed %d times while a recovery ran", n)
		}
		// It ends without success: the service is still where it was, and still down.
		w.change(func() { w.actives["asr"] = heartbeat.Active{Target: target} })
		time.Sleep(5 * time.Second)
		if asks := w.requests(); len(asks) != 1 {
			t.Errorf("after it: %+v", asks)
		}
	})
}

// A service that keeps failing is asked for again, but less and less often: each time may page somebody.
func TestRepeatedRequestsWait(t *testing.T) {
	beat(t, asr(), nil, func(t *testing.T, w *world, _ *heartbeat.Heartbeat) {
		w.change(func() {
			w.finds["http://asr"], w.answers = runbooks.Refuses, []heartbeat.Answer{{Reason: "paused by mia"}}
		})
		time.Sleep(30 * time.Minute)
		asks := w.requests()
		if len(asks) < 8 || len(asks) > 10 {
			t.Fatalf("asked %d times in half an hour", len(asks))
		}
		ids := map[string]bool{}
		for i, a := range asks {
			ids[a.ID] = true
			if a.Since != asks[0].Since {
				t.Errorf("request %d is about an outage since %s, the first about one since %s", i, a.Since, asks[0].Since)
			}
			if i == 0 {
				continue
			}
			want := min(30*time.Second<<(i-1), 5*time.Minute)
			if pause := a.at.Sub(asks[i-1].at); pause < want || pause > want+2*interval {
				t.Errorf("request %d came %s after the one before, want %s", i, pause, want)
			}
		}
		if len(ids) != len(asks) {
			t.Errorf("%d requests have %d ids", len(asks), len(ids))
		}
	})
}

func TestServicesThatFlap(t *testing.T) {
	beat(t, asr(), nil, func(t *testing.T, w *world, _ *heartbeat.Heartbeat) {
		w.change(func() { w.answers = []heartbeat.Answer{{Reason: "false alarm"}} })
		for range 10 { // each minute it is away for long enough
			time.Sleep(55 * time.Second)
			w.change(func() { w.finds["http://asr"] = runbooks.Refuses })
			time.Sleep(5 * time.Second)
			w.change(func() { delete(w.finds, "http://asr") })
		}
		first := len(w.requests())
		time.Sleep(20 * time.Minute)
		w.change(func() { w.finds["http://asr"] = runbooks.Refuses })
		time.Sleep(3 * time.Second)
		if later := len(w.requests()) - first; first < 3 || first > 6 || later != 1 {
			t.Errorf("asked %d times in ten minutes, and %d times for an outage long after", first, later)
		}
	})
}

func TestRequestsThatFailComeAgainUnchanged(t *testing.T) {
	beat(t, asr(), nil, func(t *testing.T, w *world, _ *heartbeat.Heartbeat) {
		w.change(func() { w.finds["http://asr"], w.fail = runbooks.Silent, errAway })
		time.Sleep(10 * time.Second)
		w.change(func() { w.away = errAway })
		time.Sleep(5 * time.Minute)
		failed := len(w.requests())
		w.change(func() { w.fail, w.away = nil, nil })
		time.Sleep(31 * time.Second)
		asks := w.requests()
		if failed < 2 || failed > 5 || len(asks) != failed+1 {
			t.Errorf("asked %d times while the engine was away, %d times after", failed, len(asks)-failed)
		}
		for _, a := range asks {
			if a.ID != asks[0].ID || a.Since != asks[0].Since {
				t.Errorf("the request has changed: %+v", a)
			}
		}
		if n := strings.Count(w.log.String(), "the engine is away"); n > 20 {
			t.Errorf("the log says so %d times", n)
		}
	})
}

func TestBusyIsNoFailure(t *testing.T) {
	busy := book("asr", "http://asr")
	busy.Health.Busy = runbooks.Duration(10 * time.Minute)
	inFlight := func(n int, oldest time.Duration) *runbooks.InFlight {
		return &runbooks.InFlight{Requests: n, Oldest: runbooks.Duration(oldest)}
	}
	for name, tt := range map[string]struct {
		inFlight *runbooks.InFlight
		finding  runbooks.Finding
		// then is what changes after five minutes.
		then       func(*world)
		before     bool
		afterwards time.Duration
	}{
		"an inference ends":                {inFlight(1, time.Minute), runbooks.Silent, func(w *world) { delete(w.finds, "http://asr") }, false, 0},
		"it hangs, and nothing is in it":   {inFlight(0, 0), runbooks.Silent, nil, true, 0},
		"it hangs after the inference":     {inFlight(1, time.Minute), runbooks.Silent, func(w *world) { w.inFlight = inFlight(0, 0) }, false, 2 * time.Second},
		"an inference that takes too long": {inFlight(1, time.Minute), runbooks.Silent, func(w *world) { w.inFlight = inFlight(1, 10*time.Minute) }, false, 2 * time.Second},
		"nobody knows":                     {nil, runbooks.Silent, nil, false, 5*time.Minute + 3*time.Second},
		"it is refused":                    {inFlight(1, time.Minute), runbooks.Refuses, nil, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			beat(t, []runbooks.Runbook{busy}, nil, func(t *testing.T, w *world, _ *heartbeat.Heartbeat) {
				time.Sleep(5 * time.Second)
				w.change(func() { w.finds["http://asr"], w.inFlight = tt.finding, tt.inFlight })
				time.Sleep(5 * time.Minute)
				if asks := w.requests(); (len(asks) > 0) != tt.before {
					t.Fatalf("within five minutes: %+v", asks)
				}
				if tt.before {
					return
				}
				if tt.then != nil {
					w.change(func() { tt.then(w) })
				}
				time.Sleep(5*time.Minute + 3*time.Second)
				asks := w.requests()
				if (len(asks) > 0) != (tt.afterwards > 0) {
					t.Fatalf("after ten minutes: %+v", asks)
				}
				if len(asks) > 0 && asks[0].at.Sub(asks[0].Since) > 5*time.Minute+tt.afterwards {
					t.Errorf("asked %s after the first failure", asks[0].at.Sub(asks[0].Since))
				}
				if n := strings.Count(w.log.String(), "is held"); n != 1 {
					t.Errorf("the log says %d times that it is held", n)
				}
			})
		})
	}
}

// Where nothing at all can be reached, it is not the services.
func TestOurOwnNetworkFails(t *testing.T) {
	beat(t, many(50), nil, func(t *testing.T, w *world, _ *heartbeat.Heartbeat) {
		time.Sleep(5 * time.Second)
		w.change(func() {
			for i := range 50 {
				w.finds[fmt.Sprintf("http://host-%04d:7860", i)] = runbooks.Unreachable
			}
		})
		time.Sleep(3 * time.Minute)
		if asks := w.requests(); len(asks) > 0 {
			t.Fatalf("asked for %d recoveries", len(asks))
		}
		if len(w.pages) != 1 || !strings.Contains(w.pages[0], "on none of 50 hosts") {
			t.Errorf("people were told %q", w.pages)
		}
		// It comes back, but for two of them.
		w.change(func() {
			for i := range 48 {
				delete(w.finds, fmt.Sprintf("http://host-%04d:7860", i))
			}
		})
		time.Sleep(3 * time.Second)
		asks := w.requests()
		if len(asks) != 2 || asks[0].Service < "service-0048" || asks[1].Service < "service-0048" {
			t.Errorf("asked for %+v", asks)
		}
	})
}

// Hosts that fail together, while others answer, do fail.
func TestMostHostsFail(t *testing.T) {
	books := many(50)
	books[49].Heartbeat.Interval = runbooks.Duration(20 * time.Second) // the only one that is left is seldom asked
	beat(t, books, nil, func(t *testing.T, w *world, _ *heartbeat.Heartbeat) {
		time.Sleep(30 * time.Second)
		w.change(func() {
			for i := range 49 {
				w.finds[fmt.Sprintf("http://host-%04d:7860", i)] = runbooks.Unreachable
			}
		})
		time.Sleep(5 * time.Second)
		if asks := w.requests(); len(asks) != 49 || len(w.pages) > 0 {
			t.Errorf("asked for %d recoveries, pages: %q", len(asks), w.pages)
		}
	})
}

func TestRunbooksChange(t *testing.T) {
	beat(t, many(3), nil, func(t *testing.T, w *world, _ *heartbeat.Heartbeat) {
		time.Sleep(10 * time.Second)
		changed := many(4)
		changed[0].Heartbeat = nil
		changed[1].Primary.URL = "http://elsewhere"
		changed[2].Heartbeat.Interval = runbooks.Duration(5 * time.Second)
		w.change(func() { w.library = runbooks.NewLibrary(changed...) })
		time.Sleep(7 * time.Second)
		before := []int{w.probed("http://host-0000:7860"), w.probed("http://host-0001:7860"), w.probed("http://host-0002:7860"), 0, 0}
		time.Sleep(20 * time.Second)
		for i, want := range []struct {
			url      string
			from, to int
		}{{"http://host-0000:7860", 0, 0}, {"http://host-0001:7860", 0, 0}, {"http://host-0002:7860", 3, 5}, {"http://host-0003:7860", 50, 60}, {"http://elsewhere", 50, 60}} {
			if n := w.probed(want.url) - before[i]; n < want.from || n > want.to {
				t.Errorf("%s was probed %d times, want %d to %d", want.url, n, want.from, want.to)
			}
		}
	})
}

// Thousands of services need no more at once than those that are mute, and do not beat as one.
func TestThousandsOfServices(t *testing.T) {
	const n = 5000
	books := many(n)
	for i := range books {
		books[i].Heartbeat.Interval = runbooks.Duration(time.Second)
	}
	beat(t, books, nil, func(t *testing.T, w *world, _ *heartbeat.Heartbeat) {
		time.Sleep(10 * time.Second)
		for i := range n {
			if probed := w.probed(fmt.Sprintf("http://host-%04d:7860", i)); probed < 9 || probed > 12 {
				t.Fatalf("service %d was probed %d times in ten seconds", i, probed)
			}
		}
		if w.found > 20*15 {
			t.Errorf("the engine was asked %d times where services run", w.found)
		}
		w.change(func() {
			for i := range 100 {
				w.finds[fmt.Sprintf("http://host-%04d:7860", i)] = runbooks.Silent
			}
			w.highest = 0
		})
		time.Sleep(3 * time.Second)
		if asks := w.requests(); len(asks) != 100 || w.highest > 100*failures {
			t.Errorf("asked %d times, up to %d probes at once", len(asks), w.highest)
		}
	})
}

// More mute services than workers: the others are asked later, and nothing else happens to them.
func TestAllWorkersAreBusy(t *testing.T) {
	beat(t, many(20), func(c *heartbeat.Config) { c.Workers = 4 }, func(t *testing.T, w *world, _ *heartbeat.Heartbeat) {
		w.change(func() {
			w.answers = []heartbeat.Answer{{Reason: "paused"}}
			for i := range 10 {
				w.finds[fmt.Sprintf("http://host-%04d:7860", i)] = runbooks.Silent
			}
		})
		time.Sleep(time.Minute)
		failed := map[string]bool{}
		for _, a := range w.requests() {
			failed[a.Service] = true
		}
		if len(failed) != 10 || w.highest > 4 || failed["service-0010"] {
			t.Errorf("asked for %v, %d at once", failed, w.highest)
		}
		if n := w.probed("http://host-0015:7860"); n < 20 {
			t.Errorf("a healthy service was probed %d times in a minute", n)
		}
	})
}
