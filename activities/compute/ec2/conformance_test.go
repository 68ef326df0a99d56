package ec2_test

import (
	"testing"

	"github.com/understudy-dr/understudy/activities/compute/computetest"
	"github.com/understudy-dr/understudy/tests/ec2/ec2fixture"
)

func TestConformance(t *testing.T) {
	for name, replay := range map[string]bool{"tokens of terminated instances are refused": false, "tokens of terminated instances are replayed": true} {
		t.Run(name, func(t *testing.T) {
			computetest.Run(t, func(t *testing.T) computetest.Fixture {
				o := ec2fixture.Account()
				o.Replay = replay
				return ec2fixture.Conformance(t, o)
			})
		})
	}
}
