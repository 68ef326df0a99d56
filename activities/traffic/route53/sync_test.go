package route53_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/traffic/route53"
	route53fake "github.com/understudy-dr/understudy/tests/route53"
)

// watched is a fake that tells of calls as they arrive and as they end.
func watched(t *testing.T, records ...route53fake.Record) (s *site, seen, ended chan route53fake.Call) {
	seen, ended = make(chan route53fake.Call, 1000), make(chan route53fake.Call, 1000)
	tell := func(to chan route53fake.Call) func(route53fake.Call) {
		return func(c route53fake.Call) {
			select {
			case to <- c:
			default: // looks at a change that hangs may be many; the first are enough
			}
		}
	}
	return start(t, route53fake.Options{Seen: tell(seen), Ended: tell(ended)}, records...), seen, ended
}

// next waits for a call.
func next(calls chan route53fake.Call, action string) route53fake.Call {
	for c := range calls {
		if c.Action == action {
			return c
		}
	}
	return route53fake.Call{}
}

// begin applies a change in the background.
func begin(ctx context.Context, b traffic.Balancer, c traffic.Change) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := b.Apply(ctx, c)
		done <- err
	}()
	return done
}

func TestApplyWaitsForTheNameServers(t *testing.T) {
	t.Parallel()
	s, seen, _ := watched(t, pair()...)
	s.Pending(route53fake.Forever)
	done := begin(t.Context(), s.balancer(), toHot)
	for range 3 {
		next(seen, "GetChange")
	}
	select {
	case err := <-done:
		t.Fatalf("apply returned %v before the change was in sync", err)
	default:
	}
	if got := weightsOf(s.Answers(record, "A")); got != "primary 100" {
		t.Errorf("the name servers answer %s", got)
	}
	s.Propagate()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := weightsOf(s.Answers(record, "A")); got != "hot 100" {
		t.Errorf("the name servers answer %s", got)
	}
}

// TestAnInterruptedWaitGoesOn: the activity's time was over before the change was in sync; the next try waits for the same change.
func TestAnInterruptedWaitGoesOn(t *testing.T) {
	t.Parallel()
	s, seen, _ := watched(t, pair()...)
	s.Pending(route53fake.Forever)
	b := s.balancer()
	ctx, cancel := context.WithCancel(t.Context())
	done := begin(ctx, b, toHot)
	next(seen, "GetChange")
	cancel()
	err := <-done
	if !errors.Is(err, traffic.ErrUnreachable) || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "are changed, and not yet at all name servers") {
		t.Errorf("interrupted: %v", err)
	}
	done = begin(t.Context(), b, toHot)
	next(seen, "ListResourceRecordSets") // the looks before it were the first try's
	next(seen, "GetChange")
	select {
	case err := <-done:
		t.Fatalf("the second try returned %v before the change was in sync", err)
	default:
	}
	s.Propagate()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := len(s.batches()); n != 1 {
		t.Errorf("%d changes, want one", n)
	}
}

// TestAnotherProcessRepeats: the process that made the change is gone, and with it the change's id.
func TestAnotherProcessRepeats(t *testing.T) {
	t.Parallel()
	s, seen, _ := watched(t, pair()...)
	s.Pending(route53fake.Forever)
	ctx, cancel := context.WithCancel(t.Context())
	done := begin(ctx, s.balancer(), toHot)
	next(seen, "GetChange")
	cancel()
	<-done

	b := s.balancer()
	done = begin(t.Context(), b, toHot)
	next(seen, "ListResourceRecordSets") // the looks before it were the first try's
	next(seen, "GetChange")
	select {
	case err := <-done:
		t.Fatalf("the other process returned %v before the change was in sync", err)
	default:
	}
	s.Propagate()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	apply(t, b, toHot)
	want := []string{
		"DELETE hot 0, CREATE hot 100, DELETE primary 100, CREATE primary 0",
		"DELETE primary 0, CREATE primary 0, DELETE hot 100, CREATE hot 100",
	}
	if got := s.batches(); !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
	if got := s.weights(); got != "hot 100, primary 0" {
		t.Errorf("weights %s", got)
	}
	// Where Route 53 does not take what changes nothing, the records must do.
	s.Inject(route53fake.Fault{Action: "ChangeResourceRecordSets", Code: "InvalidChangeBatch", Times: 1})
	apply(t, s.balancer(), toHot)
}

func TestALostReply(t *testing.T) {
	t.Parallel()
	s := start(t, route53fake.Options{Pending: 2}, pair()...)
	b := s.balancer()
	s.Inject(route53fake.Fault{Action: "ChangeResourceRecordSets", Times: 1, Arrives: true, Drop: true})
	if _, err := b.Apply(t.Context(), toHot); !errors.Is(err, traffic.ErrUnreachable) {
		t.Errorf("without the answer: %v, want ErrUnreachable", err)
	}
	apply(t, b, toHot)
	if got := weightsOf(s.Answers(record, "A")); got != "hot 100" {
		t.Errorf("the name servers answer %s", got)
	}
	if n := len(s.batches()); n != 2 {
		t.Errorf("%d changes, want the one whose answer was lost and its repetition", n)
	}
}

// TestALateChangeDoesNotStick: what was sent arrives after somebody else has decided otherwise.
func TestALateChangeDoesNotStick(t *testing.T) {
	t.Parallel()
	s, seen, ended := watched(t, append(pair(), a("cold", "10.0.0.3", 0))...)
	late := make(chan struct{})
	s.Inject(route53fake.Fault{Action: "ChangeResourceRecordSets", Times: 1, Hold: late})
	ctx, cancel := context.WithCancel(t.Context())
	done := begin(ctx, s.balancer(), toHot)
	next(seen, "ChangeResourceRecordSets")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("given up with %v", err)
	}
	apply(t, s.balancer(), set(to("primary", traffic.Maint), to("cold", traffic.Ready)))
	next(ended, "ChangeResourceRecordSets")
	close(late)
	if c := next(ended, "ChangeResourceRecordSets"); c.Code != "InvalidChangeBatch" {
		t.Errorf("the late change ended with %q", c.Code)
	}
	if got := s.weights(); got != "cold 100, hot 0, primary 0" {
		t.Errorf("weights %s", got)
	}
}

// TestSomebodyElseChangesMeanwhile: between what was read and what is written.
func TestSomebodyElseChangesMeanwhile(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]func(*site){
		"another weight": func(s *site) { s.put(a("primary", "10.0.0.1", 50)) },
		"another place":  func(s *site) { s.put(a("hot", "10.0.0.7", 0)) },
		"it is removed": func(s *site) {
			if err := s.Remove(route53fake.Zone, s.Records(route53fake.Zone, record)[0]); err != nil {
				s.t.Error(err)
			}
		},
	} {
		var s *site
		once := func(route53fake.Call) {}
		s = start(t, route53fake.Options{Seen: func(c route53fake.Call) {
			if c.Action == "ChangeResourceRecordSets" {
				once(c)
			}
		}}, pair()...)
		var theirs string
		once = func(route53fake.Call) {
			once = func(route53fake.Call) {}
			meanwhile(s)
			theirs = describe(s.Records(route53fake.Zone, record))
		}
		b := s.balancer()
		_, err := b.Apply(t.Context(), toHot)
		if err == nil || !strings.Contains(err.Error(), "somebody else has changed the records meanwhile; nothing was done, try again") ||
			errors.Is(err, traffic.ErrRefused) || errors.Is(err, traffic.ErrUnreachable) {
			t.Errorf("%s: %v", name, err)
		}
		if got := describe(s.Records(route53fake.Zone, record)); got != theirs {
			t.Errorf("%s: the records are %s, and not %s", name, got, theirs)
		}
		if _, err := b.Apply(t.Context(), toHot); (err != nil) != (name == "it is removed") {
			t.Errorf("%s: once more: %v", name, err)
		}
	}
}

func TestAChangeThatNeverComes(t *testing.T) {
	t.Parallel()
	s := start(t, route53fake.Options{Pending: route53fake.Forever}, pair()...)
	b := s.balancer(func(c *route53.Config) { c.Sync = 20 * time.Millisecond })
	if _, err := b.Apply(t.Context(), toHot); !errors.Is(err, traffic.ErrUnreachable) || !strings.Contains(err.Error(), "not yet at all name servers of Route 53 (change /change/C") {
		t.Errorf("apply: %v", err)
	}
}

func TestAChangeThatIsForgotten(t *testing.T) {
	t.Parallel()
	s := start(t, route53fake.Options{Pending: route53fake.Forever}, pair()...)
	b := s.balancer()
	s.Inject(route53fake.Fault{Action: "GetChange", Code: "NoSuchChange", Times: 1})
	if _, err := b.Apply(t.Context(), toHot); !errors.Is(err, traffic.ErrUnreachable) || errors.Is(err, traffic.ErrRefused) || !strings.Contains(err.Error(), "NoSuchChange") {
		t.Errorf("a change that is forgotten: %v", err)
	}
	s.Pending(0)
	apply(t, b, toHot)
	if n := len(s.batches()); n != 2 {
		t.Errorf("%d changes, want one and its repetition", n)
	}
}
