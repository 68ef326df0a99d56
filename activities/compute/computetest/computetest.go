// Package computetest is the conformance suite of package compute: what every
// provider of machines must do, shown on real machines, or on the best stand-in
// for a cloud that can be had.
//
// One thing is checked again and again: that one key never has two machines.
// The suite therefore counts machines behind the provider's back.
package computetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
)

// patience is how long a machine may take to get somewhere, on a busy computer.
const patience = 30 * time.Second

// Fixture is a provider, with hands on what it drives. Fixtures are used in
// parallel: making one must not change the process's environment.
type Fixture struct {
	Provider compute.Provider
	// Again makes a provider as a new process would have it: on the same machines, with no memory.
	Again func() compute.Provider
	// Order is one that can be carried out; with equal keys it is equal.
	Order func(key string) compute.Order
	// Other makes another order of one, with the same key: another machine type, another program.
	Other func(o compute.Order) compute.Order
	// Count is how many machines of ours run or are on their way to it, counted without the provider.
	Count func(t *testing.T) int
	// NoID is an ID in the provider's form that no machine has.
	NoID string
	// Impossible are orders that Check and Create must refuse, by what is wrong with them.
	Impossible map[string]Impossible

	// What follows is left nil where it cannot be had; Absent then says why.

	// Keeps says that Stop keeps the machine for Start.
	Keeps bool
	// Exit ends a machine from outside, or lets it end by itself.
	Exit func(t *testing.T, m compute.Machine)
	// Foreign makes a running machine that does not carry our tags; alive tells whether it still runs.
	Foreign func(t *testing.T) (r compute.Ref, alive func() bool)
	// LoseReply lets the next Create take effect and loses its answer.
	LoseReply func(t *testing.T)
	// Hold lets the next Create reach the other side, which carries it out when release is called and not before.
	Hold func(t *testing.T) (release func())
	// Held tells whether a call is held now; nil means that it is once 300 ms have passed.
	Held func() bool
	// Delay hides machines made from now on from all look-ups for a while.
	Delay func(t *testing.T, d time.Duration)

	// Absent names the fields above that are not there, with the reason.
	Absent map[string]string
}

// Impossible is an order that cannot be carried out.
type Impossible struct {
	Order compute.Order
	// Err is the class of the refusal.
	Err error
}

// Run holds a provider against the contract. newFixture is called for each
// case; what it starts ends with the test.
func Run(t *testing.T, newFixture func(t *testing.T) Fixture) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			if lacks := c.needs(f); lacks != "" {
				t.Log("not shown here: " + lacks + ": " + f.Absent[lacks])
				return
			}
			c.do(t, &site{Fixture: f, t: t})
		})
	}
	t.Run("what the fixture lacks is explained", func(t *testing.T) {
		f := newFixture(t)
		for _, c := range cases {
			if lacks := c.needs(f); lacks != "" && f.Absent[lacks] == "" {
				t.Errorf("%q is not shown because the fixture has no %s, and Absent does not say why", c.name, lacks)
			}
		}
		if len(f.Impossible) == 0 {
			t.Error("the fixture names no order that is impossible")
		}
	})
}

// needs is the name of an optional field that a case cannot do without and that
// the fixture does not have.
func (c testCase) needs(f Fixture) string {
	there := map[string]bool{
		"": true, "Keeps": f.Keeps, "Exit": f.Exit != nil, "Foreign": f.Foreign != nil,
		"LoseReply": f.LoseReply != nil, "Hold": f.Hold != nil, "Delay": f.Delay != nil,
	}
	if there[c.need] {
		return ""
	}
	return c.need
}

// site is a fixture with the test that uses it.
type site struct {
	Fixture
	t *testing.T
}

// create carries out an order that must succeed.
func (s *site) create(o compute.Order) compute.Machine {
	s.t.Helper()
	m, err := s.Provider.Create(s.t.Context(), o)
	if err != nil {
		s.t.Fatalf("create with key %s: %v", o.Key, err)
	}
	if m.ID == "" || m.Key != o.Key || !m.Ours() || m.State == compute.Gone {
		s.t.Fatalf("create with key %s made %+v", o.Key, m)
	}
	return m
}

// running carries out an order and waits until the machine runs.
func (s *site) running(o compute.Order) compute.Machine {
	s.t.Helper()
	s.create(o)
	return s.await(s.byKey(o), compute.Running)
}

// byKey and byID refer to the machine of an order.
func (s *site) byKey(o compute.Order) compute.Ref {
	return compute.Ref{Key: o.Key, Provision: o.Provision, Placement: o.Placement}
}

func (s *site) byID(o compute.Order, id string) compute.Ref {
	return compute.Ref{ID: id, Provision: o.Provision, Placement: o.Placement}
}

// await describes a machine until it is in the state. Where that is Gone, a
// machine that is no longer known is gone too.
func (s *site) await(r compute.Ref, want compute.State) compute.Machine {
	s.t.Helper()
	var m compute.Machine
	s.eventually(fmt.Sprintf("machine %s%s is %s", r.ID, r.Key, want), func() error {
		var err error
		m, err = s.Provider.Describe(s.t.Context(), r)
		switch {
		case want == compute.Gone && errors.Is(err, compute.ErrNone):
			return nil
		case err != nil:
			return err
		case m.State == compute.Gone && want != compute.Gone:
			s.t.Fatalf("the machine is gone: %+v", m)
		case m.State != want:
			return fmt.Errorf("it is %s: %s", m.State, m.Detail)
		}
		return nil
	})
	return m
}

// eventually asks until there is no error.
func (s *site) eventually(what string, ask func() error) {
	s.t.Helper()
	for end := time.Now().Add(patience); ; {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
		select {
		case <-s.t.Context().Done():
			s.t.Fatal(s.t.Context().Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// counts waits until that many machines run. More than those must never be
// seen; fewer may be, while one is on its way.
func (s *site) counts(want int) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%d machines run", want), func() error {
		if got := s.Count(s.t); got != want {
			return fmt.Errorf("%d machines run", got)
		}
		return nil
	})
}

// never fails at once where more machines run than there may be.
func (s *site) never(more int) {
	s.t.Helper()
	if got := s.Count(s.t); got > more {
		s.t.Fatalf("%d machines run, and there may be no more than %d", got, more)
	}
}

// listed are the IDs of the machines of a service that List shows and that are not gone.
func (s *site) listed(o compute.Order, service string) []string {
	s.t.Helper()
	all, err := s.Provider.List(s.t.Context(), o.Provision, service)
	if err != nil {
		s.t.Fatalf("list of service %q: %v", service, err)
	}
	var ids []string
	for _, m := range all {
		if !m.Ours() {
			s.t.Errorf("list shows what is not ours: %+v", m)
		}
		if service != "" && m.Tags[compute.TagService] != service {
			s.t.Errorf("list of service %q shows %+v", service, m)
		}
		if m.State != compute.Gone {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// classes are all errors that tell the workflow something certain.
var classes = []error{
	compute.ErrCapacity, compute.ErrQuota, compute.ErrRefused, compute.ErrCredentials, compute.ErrUsed, compute.ErrNone, compute.ErrForeign,
}

// uncertain checks that an error claims nothing: the call may have made a machine.
func (s *site) uncertain(err error) {
	s.t.Helper()
	for _, class := range classes {
		if errors.Is(err, class) {
			s.t.Errorf("a call without an answer claims %q: %v", class, err)
		}
	}
}

// mustBe checks the class of an error.
func (s *site) mustBe(what string, err, want error) {
	s.t.Helper()
	if !errors.Is(err, want) {
		s.t.Errorf("%s: %v; want: %v", what, err, want)
	}
}
