package computetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
)

// testCase is one thing that a provider must do; need names an optional field of the fixture.
type testCase struct {
	name string
	need string
	do   func(*testing.T, *site)
}

var cases = []testCase{
	{"a machine is made, found and removed", "", life},
	{"an order can be checked without making anything", "", check},
	{"what cannot be done is refused", "", impossible},
	{"the same key again finds the machine", "", replay},
	{"another order under the same key is refused", "", otherOrder},
	{"the key of a removed machine stays used", "", usedKey},
	{"keys differ in each character", "", legalKeys},
	{"a key that some provider could not carry is refused", "", badKeys},
	{"what was never there", "", nothing},
	{"a removal can be repeated", "", removal},
	{"lists are complete", "", lists},
	{"many calls with one key at once make one machine", "", concurrent},
	{"calls that were given up make no second machine", "", givenUp},
	{"a call whose time is over makes nothing", "", ended},
	{"a machine is stopped, kept and started", "Keeps", stopAndStart},
	{"a stopped machine is listed and removed", "Keeps", stoppedIsListed},
	{"a machine that ended by itself is gone", "Exit", ends},
	{"what is not ours is not touched", "Foreign", foreign},
	{"a lost reply makes no second machine", "LoseReply", lostReply},
	{"a call that arrives late makes no second machine", "Hold", lateArrival},
	{"a machine that arrives late is found and removed", "Hold", lateOrphan},
	{"look-ups that lag behind make no second machine", "Delay", lagging},
}

func life(t *testing.T, s *site) {
	o := s.Order("life")
	made := s.create(o)
	for tag, want := range o.Tags() {
		if got := made.Tags[tag]; got != want {
			t.Errorf("tag %s is %q, want %q", tag, got, want)
		}
	}
	m := s.await(s.byID(o, made.ID), compute.Running)
	byKey, err := s.Provider.Describe(t.Context(), s.byKey(o))
	if err != nil || byKey.ID != made.ID {
		t.Errorf("by its key the machine is %+v, %v; want ID %s", byKey, err, made.ID)
	}
	if m.Key != o.Key || m.Address == "" || m.Where == "" || m.Made.IsZero() || m.Price != o.Placement.Price {
		t.Errorf("a running machine is described as %+v", m)
	}
	for tag, want := range o.Tags() {
		if got := m.Tags[tag]; got != want {
			t.Errorf("tag %s is described as %q, want %q", tag, got, want)
		}
	}
	s.counts(1)
	if err := s.Provider.Terminate(t.Context(), s.byID(o, made.ID)); err != nil {
		t.Fatalf("terminate: %v", err)
	}
	s.await(s.byID(o, made.ID), compute.Gone)
	s.counts(0)
}

func check(t *testing.T, s *site) {
	o := s.Order("check")
	for range 2 {
		if err := s.Provider.Check(t.Context(), o); err != nil {
			t.Errorf("check: %v", err)
		}
	}
	s.never(0)
	if _, err := s.Provider.Describe(t.Context(), s.byKey(o)); !errors.Is(err, compute.ErrNone) {
		t.Errorf("after a check alone, describe: %v", err)
	}
	s.create(o) // the check has not used the key
}

func impossible(t *testing.T, s *site) {
	for name, i := range s.Impossible {
		s.mustBe("check of an order with "+name, s.Provider.Check(t.Context(), i.Order), i.Err)
		_, err := s.Provider.Create(t.Context(), i.Order)
		s.mustBe("an order with "+name, err, i.Err)
	}
	s.never(0)
}

func replay(t *testing.T, s *site) {
	o := s.Order("replay")
	first := s.create(o)
	providers := []compute.Provider{s.Provider, s.Again(), s.Again()}
	for i, p := range providers {
		m, err := p.Create(t.Context(), o)
		if err != nil || m.ID != first.ID || m.Key != o.Key {
			t.Errorf("call %d with the same key: %+v, %v; want ID %s", i+2, m, err, first.ID)
		}
	}
	s.await(s.byKey(o), compute.Running)
	if m := s.create(o); m.ID != first.ID {
		t.Errorf("once it runs, the same key makes %s, not %s", m.ID, first.ID)
	}
	s.counts(1)
}

func otherOrder(t *testing.T, s *site) {
	o := s.Order("other")
	first := s.create(o)
	_, err := s.Provider.Create(t.Context(), s.Other(o))
	s.mustBe("another order", err, compute.ErrUsed)
	s.never(1)
	if m := s.await(s.byKey(o), compute.Running); m.ID != first.ID {
		t.Errorf("the key now has %s, not %s", m.ID, first.ID)
	}
	s.counts(1)
}

func usedKey(t *testing.T, s *site) {
	o := s.Order("used")
	s.running(o)
	if err := s.Provider.Terminate(t.Context(), s.byKey(o)); err != nil {
		t.Fatal(err)
	}
	s.await(s.byKey(o), compute.Gone)
	for _, p := range []compute.Provider{s.Provider, s.Again()} {
		_, err := p.Create(t.Context(), o)
		s.mustBe("the key of a removed machine", err, compute.ErrUsed)
	}
	s.counts(0)
	if _, err := s.Provider.Start(t.Context(), s.byKey(o)); err == nil {
		t.Error("a removed machine can be started")
	}
	s.never(0)
}

func legalKeys(t *testing.T, s *site) {
	keys := []string{"k", "K", "..", "-rf", "k." + strings.Repeat("x", compute.MaxKey-2)}
	ids := map[string]bool{}
	for _, key := range keys {
		ids[s.create(s.Order(key)).ID] = true
	}
	if len(ids) != len(keys) {
		t.Errorf("%d keys have the machines %v", len(keys), ids)
	}
	for _, key := range keys {
		if m := s.await(s.byKey(s.Order(key)), compute.Running); m.Key != key || m.Tags[compute.TagKey] != key {
			t.Errorf("by key %q there is %+v", key, m)
		}
	}
	s.counts(len(keys))
	if err := s.Provider.Terminate(t.Context(), s.byKey(s.Order("k"))); err != nil {
		t.Fatal(err)
	}
	s.counts(len(keys) - 1)
}

func badKeys(t *testing.T, s *site) {
	for _, key := range []string{"", strings.Repeat("k", compute.MaxKey+1), "a b", "a/b", "../x", "a\nb", "a\x00", "$(id)", "a;b", "a'b", `a"b`, "a*", "语音"} {
		o := s.Order("fine")
		o.Key = key
		s.mustBe(fmt.Sprintf("check of key %q", key), s.Provider.Check(t.Context(), o), compute.ErrRefused)
		_, err := s.Provider.Create(t.Context(), o)
		s.mustBe(fmt.Sprintf("create with key %q", key), err, compute.ErrRefused)
		if _, err := s.Provider.Describe(t.Context(), s.byKey(o)); err == nil {
			t.Errorf("key %q can be described", key)
		}
	}
	s.never(0)
}

func nothing(t *testing.T, s *site) {
	s.create(s.Order("there"))
	o := s.Order("not-there")
	for _, r := range []compute.Ref{s.byKey(o), s.byID(o, s.NoID)} {
		_, err := s.Provider.Describe(t.Context(), r)
		s.mustBe("describe", err, compute.ErrNone)
		if s.Keeps {
			s.mustBe("stop", s.Provider.Stop(t.Context(), r), compute.ErrNone)
			_, err = s.Provider.Start(t.Context(), r)
			s.mustBe("start", err, compute.ErrNone)
		}
		if err := s.Provider.Terminate(t.Context(), r); err != nil {
			t.Errorf("terminate: %v", err)
		}
	}
	// A reference to nothing must not become one to everything.
	r := compute.Ref{Provision: o.Provision, Placement: o.Placement}
	_, err := s.Provider.Describe(t.Context(), r)
	s.mustBe("describe without key and ID", err, compute.ErrRefused)
	s.mustBe("stop without key and ID", s.Provider.Stop(t.Context(), r), compute.ErrRefused)
	_, err = s.Provider.Start(t.Context(), r)
	s.mustBe("start without key and ID", err, compute.ErrRefused)
	s.mustBe("terminate without key and ID", s.Provider.Terminate(t.Context(), r), compute.ErrRefused)
	s.counts(1)
}

func removal(t *testing.T, s *site) {
	one, two := s.Order("one"), s.Order("two")
	id := s.running(one).ID
	s.running(two)
	s.counts(2)
	for _, p := range []compute.Provider{s.Provider, s.Provider, s.Again()} {
		for _, r := range []compute.Ref{s.byKey(one), s.byID(one, id)} {
			if err := p.Terminate(t.Context(), r); err != nil {
				t.Errorf("terminate: %v", err)
			}
		}
	}
	s.counts(1)
	s.await(s.byKey(two), compute.Running)
	if got := s.listed(one, one.Service); slices.Contains(got, id) {
		t.Errorf("the removed machine is still listed: %v", got)
	}
	// Right after the call that makes it, a machine may still be on its way.
	three := s.Order("three")
	s.create(three)
	if err := s.Provider.Terminate(t.Context(), s.byKey(three)); err != nil {
		t.Errorf("terminate a machine that is being made: %v", err)
	}
	s.await(s.byKey(three), compute.Gone)
	s.counts(1)
}

func lists(t *testing.T, s *site) {
	one, two, other := s.Order("one"), s.Order("two"), s.Order("three")
	other.Service = one.Service + "-2"
	var of, all []string
	for _, o := range []compute.Order{one, two} {
		of = append(of, s.create(o).ID)
	}
	elsewhere := s.create(other).ID
	all = append(slices.Clone(of), elsewhere)
	slices.Sort(of)
	slices.Sort(all)
	for service, want := range map[string][]string{one.Service: of, other.Service: {elsewhere}, "": all, "nobody": nil} {
		if got := s.listed(one, service); !slices.Equal(got, want) {
			t.Errorf("list of service %q: %v, want %v", service, got, want)
		}
	}
	machines, err := s.Again().List(t.Context(), one.Provision, other.Service)
	if err != nil || len(machines) != 1 {
		t.Fatalf("list: %+v, %v", machines, err)
	}
	m := machines[0]
	at, ok := m.Expires()
	if m.Key != other.Key || m.Made.IsZero() || m.Price != other.Placement.Price || !ok || !at.Equal(other.Expires.Truncate(time.Second)) {
		t.Errorf("a machine is listed as %+v", m)
	}
}

func stopAndStart(t *testing.T, s *site) {
	o := s.Order("stop")
	id := s.running(o).ID
	for range 2 {
		if err := s.Provider.Stop(t.Context(), s.byKey(o)); err != nil {
			t.Fatalf("stop: %v", err)
		}
	}
	s.await(s.byID(o, id), compute.Stopped)
	s.counts(0)
	if m := s.create(o); m.ID != id {
		t.Errorf("while it is stopped, its key makes %s, not %s", m.ID, id)
	}
	s.never(0)
	for range 2 {
		m, err := s.Provider.Start(t.Context(), s.byID(o, id))
		if err != nil || m.ID != id {
			t.Fatalf("start: %+v, %v", m, err)
		}
	}
	if m := s.await(s.byKey(o), compute.Running); m.ID != id || m.Tags[compute.TagKey] != o.Key {
		t.Errorf("after a start the machine is %+v", m)
	}
	s.counts(1)
}

func stoppedIsListed(t *testing.T, s *site) {
	o := s.Order("stopped")
	id := s.running(o).ID
	if err := s.Provider.Stop(t.Context(), s.byID(o, id)); err != nil {
		t.Fatal(err)
	}
	s.await(s.byKey(o), compute.Stopped)
	if got := s.listed(o, o.Service); !slices.Equal(got, []string{id}) {
		t.Errorf("listed: %v, want %s", got, id)
	}
	if err := s.Provider.Terminate(t.Context(), s.byID(o, id)); err != nil {
		t.Fatal(err)
	}
	s.await(s.byID(o, id), compute.Gone)
	if _, err := s.Provider.Start(t.Context(), s.byID(o, id)); err == nil {
		t.Error("a removed machine can be started")
	}
	s.never(0)
}
