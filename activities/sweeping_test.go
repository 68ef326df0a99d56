package activities

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
)

func TestForgotten(t *testing.T) {
	now := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	machine := func(change func(m *compute.Machine)) compute.Machine {
		m := compute.Machine{ID: "i-1", State: compute.Running, Tags: compute.Order{Key: "k", Service: "asr", Epoch: 7, Mode: ModeLive, Expires: now.Add(-time.Minute)}.Tags()}
		if change != nil {
			change(&m)
		}
		return m
	}
	tests := []struct {
		name    string
		machine compute.Machine
		held    Held
		unknown bool
		remove  bool
		reason  string
	}{
		{"past its time, nobody's", machine(nil), Held{}, false, true, "it expired"},
		{"stopped, past its time", machine(func(m *compute.Machine) { m.State = compute.Stopped }), Held{}, false, true, "it expired"},
		{"the service runs on it", machine(nil), Held{Machines: []string{"i-1"}}, false, false, "runs on it"},
		{"its recovery runs", machine(nil), Held{Running: []int64{7}}, false, false, "live 7 is running"},
		{"another recovery runs", machine(nil), Held{Running: []int64{8}}, false, true, "it expired"},
		{"the guard does not answer", machine(nil), Held{}, true, false, "cannot be asked"},
		{"not ours", machine(func(m *compute.Machine) { m.Tags = nil }), Held{}, false, false, "our tags"},
		{"in time", machine(func(m *compute.Machine) { m.Tags[compute.TagExpires] = now.Add(time.Hour).Format(time.RFC3339) }), Held{}, false, false, "removed after"},
		{"no word of its time", machine(func(m *compute.Machine) { delete(m.Tags, compute.TagExpires) }), Held{}, false, false, "by hand"},
		{"gone", machine(func(m *compute.Machine) { m.State = compute.Gone }), Held{}, false, false, "gone"},
	}
	for _, tt := range tests {
		remove, reason := Forgotten(tt.machine, tt.held, !tt.unknown, now)
		if remove != tt.remove || !strings.Contains(reason, tt.reason) {
			t.Errorf("%s: %v, %q", tt.name, remove, reason)
		}
	}
}
