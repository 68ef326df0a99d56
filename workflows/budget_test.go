package workflows

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities"
)

func TestBudget(t *testing.T) {
	now := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	ask := func(service, key string) activities.BudgetInput {
		return activities.BudgetInput{Kind: activities.BudgetMachine, Service: service, Key: key, InFlight: 2, PerDay: 4, ServicePerDay: 2}
	}
	done := func(key string) activities.BudgetInput {
		return activities.BudgetInput{Kind: activities.BudgetMachine, Service: "any", Key: key, Done: true}
	}
	var s BudgetState
	steps := []struct {
		name    string
		in      activities.BudgetInput
		after   time.Duration
		granted bool
		reason  string
	}{
		{"the first", ask("a", "a1"), 0, true, ""},
		{"the first again, whose answer was lost", ask("a", "a1"), 0, true, "granted before"},
		{"the second", ask("b", "b1"), 0, true, ""},
		{"a third while two are in the making", ask("c", "c1"), 0, false, "in the making, for a; b"},
		{"the first is given back", done("a1"), 0, true, ""},
		{"and makes room", ask("c", "c1"), 0, true, ""},
		{"what nobody gave back is free after a while", ask("a", "a2"), 3 * time.Hour, true, ""},
		{"a service's own limit", ask("a", "a3"), 3 * time.Hour, false, "2 made for a within 24 h"},
		{"the site's day", ask("d", "d1"), 3 * time.Hour, false, "4 made within 24 h"},
		{"the next day", ask("d", "d1"), 24 * time.Hour, true, ""},
		{"what was never taken is given back", done("nobody"), 24 * time.Hour, true, ""},
	}
	for _, step := range steps {
		got := s.take(step.in, now.Add(step.after))
		if got.Granted != step.granted || !strings.Contains(got.Reason, step.reason) {
			t.Errorf("%s: %+v", step.name, got)
		}
	}
}
