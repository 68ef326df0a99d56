package ec2_test

import (
	"errors"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/tests/ec2"
	"github.com/understudy-dr/understudy/tests/ec2/ec2fixture"
)

// prepared puts a stopped instance of a service beside an order for it.
func prepared(t *testing.T, key string, tags map[string]string) (*ec2fixture.Site, compute.Order) {
	t.Helper()
	s := ec2fixture.New(t, ec2fixture.Account())
	id := s.Put(ec2.Instance{Region: ec2fixture.Region, Zone: "us-west-2a", Type: "g5.xlarge", State: "stopped", Tags: ec2fixture.Tags("fun-asr", tags)})
	o := s.Order(key)
	o.Provision.Keep, o.Placement.Instance, o.Placement.Image = "stopped", id, ""
	return s, o
}

// awaitState looks until a machine is in a state.
func awaitState(t *testing.T, s *ec2fixture.Site, r compute.Ref, want compute.State) compute.Machine {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		m, err := s.Provider.Describe(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if m.State == want {
			return m
		}
		if time.Now().After(end) {
			t.Fatalf("the machine is %s and not %s", m.State, want)
		}
	}
}

func TestAPreparedMachineIsStartedAndStoppedAgain(t *testing.T) {
	s, o := prepared(t, "one", nil)
	if err := s.Provider.Check(t.Context(), o); err != nil {
		t.Error(err)
	}
	m := create(t, s.Provider, o)
	if m.ID != o.Placement.Instance || m.State != compute.Pending || m.Key != "one" || !m.Kept() || m.Tags[compute.TagEpoch] != "7" {
		t.Errorf("created: %+v", m)
	}
	awaitState(t, s, ref(o), compute.Running)
	if again := create(t, s.Again(), o); again.ID != m.ID {
		t.Errorf("the same key again: %+v", again)
	}
	if n := len(s.Calls("StartInstances")); n != 2 { // one was a dry run
		t.Errorf("it was started %d times", n-1)
	}
	other := o
	other.Key, other.Epoch = "two", 8
	_, err := s.Provider.Create(t.Context(), other)
	is(t, "another order while it runs", err, compute.ErrCapacity)
	is(t, "a check of that", s.Provider.Check(t.Context(), other), compute.ErrCapacity)

	// What was prepared is never removed.
	if err := s.Provider.Terminate(t.Context(), ref(o)); err != nil {
		t.Fatal(err)
	}
	got := awaitState(t, s, ref(o), compute.Stopped)
	if got.Tags[compute.TagMode] != compute.ModeResting || got.ID != m.ID {
		t.Errorf("after its removal it is %+v", got)
	}
	if len(s.Calls("TerminateInstances")) != 0 {
		t.Error("it was terminated")
	}
	// A call of the old order that comes late does not start it again.
	_, err = s.Again().Create(t.Context(), o)
	is(t, "the old key", err, compute.ErrUsed)
	if m := create(t, s.Provider, other); m.ID != got.ID {
		t.Errorf("the next order: %+v", m)
	}
	awaitState(t, s, ref(other), compute.Running)
	_, err = s.Provider.Create(t.Context(), o)
	is(t, "an older epoch", err, compute.ErrUsed)
	if s.Ours() != 1 || len(s.Calls("RunInstances")) != 0 {
		t.Error("something was launched")
	}
}

func TestAPreparedMachineThatCannotBeHad(t *testing.T) {
	for name, c := range map[string]struct {
		tags map[string]string
		want error
	}{
		"not ours":        {map[string]string{compute.TagManagedBy: "somebody"}, compute.ErrForeign},
		"another service": {map[string]string{compute.TagService: "tts"}, compute.ErrForeign},
		"a newer epoch":   {map[string]string{compute.TagKey: "x", compute.TagEpoch: "9", compute.TagMode: compute.ModeResting}, compute.ErrUsed},
	} {
		s, o := prepared(t, "k", c.tags)
		_, err := s.Provider.Create(t.Context(), o)
		is(t, name, err, c.want)
		is(t, "check: "+name, s.Provider.Check(t.Context(), o), c.want)
		if s.Ours() != 0 || len(s.Calls("StartInstances"))+len(s.Calls("CreateTags")) != 0 {
			t.Errorf("%s: it was touched", name)
		}
	}
}

// A stopped instance reserves nothing.
func TestNoRoomToStartIn(t *testing.T) {
	s, o := prepared(t, "k", nil)
	s.Inject(ec2.Fault{Action: "StartInstances", Times: 1, Code: "InsufficientInstanceCapacity"})
	_, err := s.Provider.Create(t.Context(), o)
	is(t, "no room", err, compute.ErrCapacity)
	m := create(t, s.Provider, o)
	if m.ID != o.Placement.Instance {
		t.Errorf("later: %+v", m)
	}
}

// The answer to the start is lost, or Understudy dies before the start.
func TestAStartThatWasInterrupted(t *testing.T) {
	s, o := prepared(t, "k", nil)
	s.Inject(ec2.Fault{Action: "StartInstances", Times: 1, Code: "UnauthorizedOperation"})
	if _, err := s.Provider.Create(t.Context(), o); !errors.Is(err, compute.ErrRefused) {
		t.Fatal(err)
	}
	s.Inject(ec2.Fault{Action: "StartInstances", Times: 1, Drop: true, Arrives: true})
	if m := create(t, s.Again(), o); m.ID != o.Placement.Instance {
		t.Errorf("claimed, not started, then started without an answer: %+v", m)
	}
	awaitState(t, s, ref(o), compute.Running)
}

func TestAMachineThatIsStillStoppingIsStarted(t *testing.T) {
	s, o := prepared(t, "one", nil)
	create(t, s.Provider, o)
	awaitState(t, s, ref(o), compute.Running)
	if err := s.Provider.Stop(t.Context(), ref(o)); err != nil {
		t.Fatal(err)
	}
	next := o
	next.Key, next.Epoch = "two", 8
	create(t, s.Provider, next) // it is stopping
	awaitState(t, s, ref(next), compute.Running)
}
