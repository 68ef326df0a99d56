package activities

import (
	"testing"

	"github.com/understudy-dr/understudy/runbooks"
)

func TestNobodyReached(t *testing.T) {
	saw := func(domain string, f runbooks.Finding) runbooks.Observation {
		return runbooks.Observation{Domain: domain, Finding: f}
	}
	blind, well := saw(runbooks.ByWitness+":office", runbooks.Blind), saw(runbooks.ByWitness+":home", runbooks.Answers)
	for _, tt := range []struct {
		name      string
		witnessed []runbooks.Observation
		balancer  runbooks.Observation
		want      bool
	}{
		{"nothing answers", []runbooks.Observation{blind, blind}, saw(runbooks.ByBalancer, runbooks.Blind), true},
		{"one witness answers", []runbooks.Observation{blind, well}, saw(runbooks.ByBalancer, runbooks.Blind), false},
		{"the load balancer answers", []runbooks.Observation{blind}, saw(runbooks.ByBalancer, runbooks.Down), false},
		{"there are no witnesses", nil, saw(runbooks.ByBalancer, runbooks.Blind), false},
	} {
		if got := nobodyReached(tt.witnessed, tt.balancer); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
