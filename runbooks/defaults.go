package runbooks

import "time"

// defaultHotWithin is how long a running standby has to pass, where the runbook says nothing.
const defaultHotWithin = 5 * time.Second

// fill sets what the author left out. The values are part of the format: each
// stands in the doc comment of its field.
func (r *Runbook) fill() {
	or(&r.Health.Kind, "http")
	or(&r.Health.Path, "/health")
	or(&r.Health.Timeout, Duration(400*time.Millisecond))
	if r.Canary != nil {
		or(&r.Canary.Timeout, Duration(20*time.Second))
		if t := r.Canary.Transcribe; t != nil {
			or(&t.Dialect, "openai")
		}
		if s := r.Canary.Synthesize; s != nil {
			or(&s.Audio, "body")
			or(&s.MinSeconds, 0.2)
		}
	}
	if r.Version != nil {
		or(&r.Version.Actual.Path, "/version")
		or(&r.Version.Expected.Unavailable, "last-known")
	}
	for i := range r.Settings {
		or(&r.Settings[i].Unavailable, "last-known")
	}
	fillFences(r.Primary.Fence)
	if r.Primary.Activate != nil {
		or(&r.Primary.Activate.Method, "POST")
	}
	r.Traffic.fill()
	fillBatches(r.Batches)
	for i := range r.Tiers {
		r.Tiers[i].fill()
	}
	p := &r.Policy
	or(&p.Cooldown, Duration(10*time.Minute))
	or(&p.Confirm, Duration(5*time.Minute))
	or(&p.ConfirmEvery, min(Duration(15*time.Second), p.Confirm))
	or(&p.Observe, Duration(30*time.Second))
	or(&p.Deadline, Duration(30*time.Minute))
	or(&p.Degraded, "page")
	or(&p.Failback, "manual")
	or(&p.FailbackHold, Duration(30*time.Minute))
	or(&p.Pause, Duration(5*time.Minute))
	or(&p.Limits.Machines, 1)
	or(&p.Limits.PerDay, 3)
	or(&p.Limits.TTL, Duration(72*time.Hour))
	if r.Heartbeat != nil {
		or(&r.Heartbeat.Failures, 3)
	}
	if g := r.GameDay; g != nil {
		or(&g.Limit, Duration(5*time.Minute))
		both := []Fence{g.Stop, g.Start}
		fillFences(both)
		g.Stop, g.Start = both[0], both[1]
	}
	if r.Drill != nil {
		or(&r.Drill.Timezone, "UTC")
		or(&r.Drill.TTL, Duration(30*time.Minute))
	}
}

func (t *Tier) fill() {
	within := map[string]time.Duration{TierHot: defaultHotWithin, TierWarm: time.Minute}
	or(&t.Within, Duration(within[t.Name]))
	or(&t.Within, Duration(5*time.Minute))
	if t.Activate != nil {
		or(&t.Activate.Method, "POST")
	}
	if t.Approval != nil {
		or(&t.Approval.Timeout, Duration(10*time.Minute))
		if len(t.Approval.Roles) == 0 {
			t.Approval.Roles = []string{"approver"}
		}
	}
	for i := range t.Volumes {
		or(&t.Volumes[i].Manifest, "MANIFEST.sha256")
		or(&t.Volumes[i].Verify, "full")
		or(&t.Volumes[i].Mode, "mount")
	}
	if t.Traffic != nil {
		t.Traffic.fill()
	}
	fillFences(t.Fence)
	fillBatches(t.Batches)
}

func (t *Traffic) fill() {
	or(&t.Reconcile, Duration(5*time.Second))
	if t.Kind == "nginx" && len(t.Test) == 0 {
		t.Test = []string{"nginx", "-t"}
	}
	if t.Kind == "nginx" && len(t.Reload) == 0 {
		t.Reload = []string{"nginx", "-s", "reload"}
	}
}

func fillFences(fences []Fence) {
	for i := range fences {
		f := &fences[i]
		or(&f.Timeout, Duration(30*time.Second))
		if f.Kind == "http" {
			or(&f.Method, "POST")
		}
		if f.Confirm != nil {
			or(&f.Confirm.Within, Duration(15*time.Second))
		}
	}
}

func fillBatches(b *Batches) {
	if b == nil {
		return
	}
	or(&b.Concurrency, 4)
	or(&b.Chunk, Duration(9*time.Minute))
	or(&b.Attempts, 3)
	or(&b.OnModelChange, "finish-old")
}

func (s *Site) fill() {
	or(&s.Listen.API, "127.0.0.1:8400")
	or(&s.Listen.Temporal, "127.0.0.1:7233")
	or(&s.Listen.UI, "127.0.0.1:8233")
	or(&s.DataDir, "understudy-data")
	or(&s.Budgets.HotPerMinute, 20)
	or(&s.Budgets.MachinesInFlight, 3)
	or(&s.Budgets.MachinesPerDay, 10)
	if s.Epochs != nil {
		or(&s.Epochs.Patience, Duration(250*time.Millisecond))
	}
	if s.Epochs != nil && s.Epochs.Kind == "etcd" {
		or(&s.Epochs.Prefix, "understudy/epochs/")
	}
	or(&s.Links.Console, "http://"+s.Listen.API)
	or(&s.Links.Temporal, "http://"+s.Listen.UI)
	for i := range s.Sites {
		if w := s.Sites[i].Watchdog; w != nil {
			or(&w.Action, "page")
		}
	}
}

// or sets a value that is still zero.
func or[T comparable](value *T, fallback T) {
	var zero T
	if *value == zero {
		*value = fallback
	}
}
