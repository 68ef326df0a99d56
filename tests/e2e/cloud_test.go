package e2e

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/ec2"
	"github.com/understudy-dr/understudy/tests/ec2/ec2fixture"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

// A machine is made in EC2 where everything goes wrong: the credentials have
// expired, one region's quota is used up, a zone has no capacity, in the next
// one the reply to the launch is lost and the instance does not show for a while.
// One instance lives in the end, and people were told what only they can mend.
func TestAMachineInTheCloud(t *testing.T) {
	abreast(t)
	var account *ec2fixture.Site
	s := coldScene(t, harness.SceneOptions{Held: true, Without: true})
	elsewhere := ec2fixture.Place("a")
	elsewhere.Region, elsewhere.Zone, elsewhere.Subnet = "us-east-1", "us-east-1a", "subnet-us-east-1a"
	again := elsewhere
	again.Zone, again.Subnet = "us-east-1b", "subnet-us-east-1b"
	tier := &s.Runbook.Tiers[1]
	account = cloud(t, s, tier, ec2.Options{Boot: 300 * time.Millisecond})
	tier.Provision.Placements = []runbooks.Placement{elsewhere, again, ec2fixture.Place("a"), ec2fixture.Place("b"), ec2fixture.Place("c")}
	account.Inject(ec2.Fault{Action: "RunInstances", Region: "us-east-1", Code: "VcpuLimitExceeded", Message: "You have requested more vCPU capacity than your current vCPU limit of 0 allows"})
	account.Inject(ec2.Fault{Action: "RunInstances", Zone: ec2fixture.Region + "a", Code: "InsufficientInstanceCapacity", Status: 500})
	account.Inject(ec2.Fault{Action: "RunInstances", Zone: ec2fixture.Region + "b", Times: 1, Arrives: true, Drop: true})
	account.Hide(2 * time.Second)
	start(t, s, func(_ *runbooks.Runbook, site *runbooks.Site) { site.AWS = account.AWS })

	account.Expire(ec2.AccessKey)
	s.Primary.Kill()
	s.Hot.Kill()
	alert(t, s.Understudy, "firing", time.Now())
	eventually(t, func(context.Context) error {
		if told := s.Slack.Transcript(); !strings.Contains(told, "renew the credentials") {
			return errors.New("people were told:\n" + told)
		}
		return nil
	})
	if alive := account.Alive(); len(alive) != 0 {
		t.Errorf("with credentials that have expired there is %+v", alive)
	}
	account.SetKey("AKIAROTATEDROTATED00", ec2.SecretKey)
	account.Rotate("AKIAROTATEDROTATED00", ec2.SecretKey)

	r := ended(t, s.Understudy, 1)
	wantOutcome(t, r, workflows.OutcomeRecovered, string(runbooks.Dead))
	if r.Tier != runbooks.TierCold || r.Made == nil || r.Made.Machine.Placement.Zone != ec2fixture.Region+"b" || !r.Person {
		t.Errorf("tier %s, made %+v, person %v\n%s", r.Tier, r.Made, r.Person, r.Markdown())
	}
	call(t, s.Front, 5*time.Second).answers(t, 3)
	alive := account.Alive()
	if len(alive) != 1 || alive[0].ID != r.Made.Machine.ID || alive[0].Zone != ec2fixture.Region+"b" || alive[0].Tags[compute.TagManagedBy] != compute.ManagedBy {
		t.Errorf("alive: %+v", alive)
	}
	oneToken(t, account)
	eventually(t, func(context.Context) error {
		if told := s.Slack.Transcript(); !strings.Contains(told, "ask for a higher quota") || !strings.Contains(told, "vCPU") {
			return errors.New("people were told:\n" + told)
		}
		return nil
	})
}

// oneToken wants the launches as they must have come: of the full region one
// placement was tried, and in zone b the same token until there was an answer.
func oneToken(t *testing.T, account *ec2fixture.Site) {
	t.Helper()
	var tokens []string
	tried := map[string]int{}
	for _, c := range account.Calls("RunInstances") {
		if c.Key != "AKIAROTATEDROTATED00" {
			continue // refused, because it had expired
		}
		tried[c.Zone]++
		if c.Zone == ec2fixture.Region+"b" {
			tokens = append(tokens, c.Form.Get("ClientToken"))
		}
	}
	if tried["us-east-1b"] != 0 || tried[ec2fixture.Region+"a"] != 1 || tried[ec2fixture.Region+"c"] != 0 {
		t.Errorf("launches by zone: %v", tried)
	}
	if len(tokens) < 2 {
		t.Errorf("the launch whose reply was lost was not repeated: tokens %q", tokens)
	}
	for _, token := range tokens {
		if token != tokens[0] || token == "" {
			t.Errorf("zone b was asked with the tokens %q", tokens)
		}
	}
}

// start starts a scene's Understudy with its runbook as a test has changed it.
func start(t *testing.T, s *harness.Scene, edit func(r *runbooks.Runbook, site *runbooks.Site)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s.Edit(edit)
	if err := s.StartUnderstudy(ctx); err != nil {
		t.Fatal(err)
	}
	guard(t, s.Understudy, atRest)
}
