package compute

import (
	"testing"
	"time"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// machine is one of service asr at epoch 7 that expired two hours ago, with changes.
func machine(changes ...func(*Machine)) Machine {
	o := Order{Key: "k", Service: "asr", Epoch: 7, Mode: "live", Expires: now.Add(-2 * time.Hour)}
	m := Machine{ID: "i-1", Key: "k", State: Running, Tags: o.Tags(), Made: now.Add(-90 * time.Minute), Price: 4}
	for _, change := range changes {
		change(&m)
	}
	return m
}

func tag(name, value string) func(*Machine) { return func(m *Machine) { m.Tags[name] = value } }

func expires(in time.Duration) func(*Machine) {
	return tag(TagExpires, now.Add(in).Format(time.RFC3339))
}

func state(s State) func(*Machine) { return func(m *Machine) { m.State = s } }

func TestSweep(t *testing.T) {
	live := func(service string, epoch int64) []Run { return []Run{{service, epoch, "live"}} }
	for name, c := range map[string]struct {
		machine Machine
		runs    []Run
		active  []string
		remove  bool
		reason  string
		unsure  string
	}{
		"forgotten":                           {machine: machine(), remove: true, reason: "no run needs it, and it expired 2h00m ago"},
		"forgotten, stopped":                  {machine: machine(state(Stopped)), remove: true, reason: "no run needs it, and it expired 2h00m ago"},
		"forgotten, pending":                  {machine: machine(state(Pending)), remove: true, reason: "no run needs it, and it expired 2h00m ago"},
		"forgotten for long":                  {machine: machine(expires(-80 * time.Hour)), remove: true, reason: "no run needs it, and it expired 3 days ago"},
		"this very moment":                    {machine: machine(expires(0)), remove: true, reason: "no run needs it, and it expired 0s ago"},
		"gone":                                {machine: machine(state(Gone)), reason: "it is gone"},
		"the guard does not answer":           {machine: machine(), unsure: "the guard of asr does not answer", reason: "the guard of asr does not answer"},
		"another's guard does not answer":     {machine: machine(tag(TagService, "tts")), unsure: "the guard of asr does not answer", remove: true, reason: "no run needs it, and it expired 2h00m ago"},
		"prepared":                            {machine: machine(tag(TagKeep, "stopped"), tag(TagExpires, ""), state(Stopped)), reason: "prepared: it stands by, stopped"},
		"prepared, and left running":          {machine: machine(tag(TagKeep, "stopped")), remove: true, reason: "no run needs it, and it expired 2h00m ago"},
		"not expired":                         {machine: machine(expires(61 * time.Minute)), reason: "no run needs it; it expires in 1h01m"},
		"nearly expired":                      {machine: machine(expires(time.Second)), reason: "no run needs it; it expires in 1s"},
		"foreign":                             {machine: machine(tag(TagManagedBy, "terraform")), reason: "it does not carry our tags"},
		"without tags":                        {machine: machine(func(m *Machine) { m.Tags = nil }), reason: "it does not carry our tags"},
		"active":                              {machine: machine(), active: []string{"i-0", "i-1"}, reason: "asr runs on it"},
		"another is active":                   {machine: machine(), active: []string{"i-2", ""}, remove: true, reason: "no run needs it, and it expired 2h00m ago"},
		"of a recovery":                       {machine: machine(), runs: live("asr", 7), reason: "it belongs to the live run of asr at epoch 7, which has not ended"},
		"of a drill":                          {machine: machine(tag(TagMode, "drill")), runs: []Run{{"tts", 7, "live"}, {"asr", 7, "drill"}}, reason: "it belongs to the drill run of asr at epoch 7, which has not ended"},
		"of an earlier recovery":              {machine: machine(), runs: live("asr", 8), remove: true, reason: "no run needs it, and it expired 2h00m ago"},
		"of another service's epoch":          {machine: machine(), runs: live("tts", 7), remove: true, reason: "no run needs it, and it expired 2h00m ago"},
		"of an epoch that cannot be read":     {machine: machine(tag(TagEpoch, "7x")), runs: live("asr", 8), reason: `its epoch "7x" cannot be read, and a run of asr at epoch 8 has not ended`},
		"the same, and nothing runs":          {machine: machine(tag(TagEpoch, "")), remove: true, reason: "no run needs it, and it expired 2h00m ago"},
		"of an expiry that cannot be read":    {machine: machine(tag(TagExpires, "tomorrow")), reason: `its expiry "tomorrow" cannot be read; remove it by hand if nobody needs it`},
		"without an expiry":                   {machine: machine(tag(TagExpires, "")), reason: `its expiry "" cannot be read; remove it by hand if nobody needs it`},
		"an expiry in another zone, to come":  {machine: machine(tag(TagExpires, "2026-03-01T20:30:00+08:00")), reason: "no run needs it; it expires in 30m"},
		"an expiry in another zone, and past": {machine: machine(tag(TagExpires, "2026-03-01T19:30:00+08:00")), remove: true, reason: "no run needs it, and it expired 30m ago"},
	} {
		in := Inventory{Machines: []Machine{c.machine}, Runs: c.runs, Active: c.active, Now: now}
		if c.unsure != "" {
			in.Unsure = map[string]string{"asr": c.unsure}
		}
		findings := Sweep(in)
		if len(findings) != 1 {
			t.Fatalf("%s: %+v", name, findings)
		}
		if f := findings[0]; f.Remove != c.remove || f.Reason != c.reason || f.Machine.ID != c.machine.ID {
			t.Errorf("%s: remove %v, because %s; want %v, because %s", name, f.Remove, f.Reason, c.remove, c.reason)
		}
	}
}

func TestSweepKeepsTheOrder(t *testing.T) {
	one, two := machine(), machine(func(m *Machine) { m.ID = "i-2" }, expires(time.Hour))
	findings := Sweep(Inventory{Machines: []Machine{two, one}, Now: now})
	if len(findings) != 2 || findings[0].Machine.ID != "i-2" || findings[0].Remove || !findings[1].Remove {
		t.Errorf("findings: %+v", findings)
	}
	if got := Sweep(Inventory{Now: now}); len(got) != 0 {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestCost(t *testing.T) {
	for name, c := range map[string]struct {
		machine Machine
		want    float64
	}{
		"an hour and a half":   {machine(), 6},
		"stands still":         {machine(state(Stopped)), 0},
		"gone":                 {machine(state(Gone)), 0},
		"no price":             {machine(func(m *Machine) { m.Price = 0 }), 0},
		"no beginning":         {machine(func(m *Machine) { m.Made = time.Time{} }), 0},
		"made by a fast clock": {machine(func(m *Machine) { m.Made = now.Add(time.Hour) }), 0},
	} {
		if got := c.machine.Cost(now); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		if got := Sweep(Inventory{Machines: []Machine{c.machine}, Now: now})[0].Cost; got != c.want {
			t.Errorf("%s: the sweep says %v, want %v", name, got, c.want)
		}
	}
}

func TestKeys(t *testing.T) {
	for key, ok := range map[string]bool{"a": true, "..": true, "A-b_c.9": true, "": false, "a b": false, "a\n": false, "a/b": false, "é": false, string(make([]byte, 64)): false} {
		if err := CheckKey(key); (err == nil) != ok {
			t.Errorf("%q: %v", key, err)
		}
	}
}
