package ec2_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	provider "github.com/understudy-dr/understudy/activities/compute/ec2"
	"github.com/understudy-dr/understudy/tests/ec2"
	"github.com/understudy-dr/understudy/tests/ec2/ec2fixture"
)

var classes = []error{
	compute.ErrCapacity, compute.ErrQuota, compute.ErrRefused, compute.ErrCredentials, compute.ErrUsed, compute.ErrNone, compute.ErrForeign,
}

// is checks that an error is of one class and of no other.
func is(t *testing.T, what string, err, want error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
		return
	}
	for _, class := range classes {
		if errors.Is(err, class) != (class == want) {
			t.Errorf("%s: %v; want class %v", what, err, want)
			return
		}
	}
}

func TestClassesOfErrors(t *testing.T) {
	for code, want := range map[string]error{
		"InsufficientInstanceCapacity":         compute.ErrCapacity,
		"InsufficientReservedInstanceCapacity": compute.ErrCapacity,
		"InsufficientFreeAddressesInSubnet":    compute.ErrCapacity,
		"ReservationCapacityExceeded":          compute.ErrCapacity,
		"InvalidCapacityReservationState":      compute.ErrCapacity,
		"Unsupported":                          compute.ErrCapacity,
		"VcpuLimitExceeded":                    compute.ErrQuota,
		"InstanceLimitExceeded":                compute.ErrQuota,
		"PendingVerification":                  compute.ErrQuota,
		"MaxIOPSLimitExceeded":                 compute.ErrQuota,
		"UnauthorizedOperation":                compute.ErrRefused,
		"Blocked":                              compute.ErrRefused,
		"OptInRequired":                        compute.ErrRefused,
		"InvalidSubnetID.NotFound":             compute.ErrRefused,
		"InvalidParameterValue":                compute.ErrRefused,
		"InvalidLaunchTemplateId.NotFound":     compute.ErrRefused,
		"AuthFailure":                          compute.ErrRefused, // with this message it is about an image, not about credentials
		"IdempotentInstanceTerminated":         compute.ErrUsed,
		"ExpiredToken":                         compute.ErrCredentials,
		"RequestExpired":                       compute.ErrCredentials,
		"InvalidClientTokenId":                 compute.ErrCredentials,
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			s := ec2fixture.New(t, ec2fixture.Account())
			s.Inject(ec2.Fault{Action: "RunInstances", Code: code, Message: "Not authorized for images: [ami-1]\x1b[2J\n" + strings.Repeat("x", 2000)})
			_, err := s.Provider.Create(t.Context(), s.Order("k"))
			is(t, code, err, want)
			if text := err.Error(); !strings.Contains(text, code) || !strings.Contains(text, "us-west-2a") || len(text) > 700 || strings.ContainsAny(text, "\n\x1b") {
				t.Errorf("the error reads %q", text)
			}
			if want != compute.ErrCredentials && len(s.Calls("RunInstances")) != 1 {
				t.Errorf("it was tried %d times", len(s.Calls("RunInstances")))
			}
		})
	}
}

// What passes is the same call again, and nothing else.
func TestWhatPassesIsRepeated(t *testing.T) {
	for name, fault := range map[string]ec2.Fault{
		"throttled":            {Code: "RequestLimitExceeded"},
		"throttled otherwise":  {Code: "Throttling"},
		"a failure":            {Code: "InternalError"},
		"an unknown failure":   {Code: "SomethingNew", Status: 502},
		"overloaded":           {Code: "Unavailable"},
		"a dropped call":       {Drop: true},
		"a dropped answer":     {Drop: true, Arrives: true},
		"a hanging call":       {Hang: true},
		"a hanging answer":     {Hang: true, Arrives: true},
		"a failure that isn't": {Code: "InternalError", Arrives: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := ec2fixture.New(t, ec2fixture.Account())
			p := s.Again(func(c *provider.Config) { c.Attempt = time.Second })
			fault.Action, fault.Times = "RunInstances", 2
			s.Inject(fault)
			m, err := p.Create(t.Context(), s.Order("k"))
			if err != nil || m.Key != "k" {
				t.Fatalf("%+v, %v", m, err)
			}
			calls := s.Calls("RunInstances")
			if len(calls) != 3 || s.Ours() != 1 {
				t.Errorf("after %d calls there are %d instances", len(calls), s.Ours())
			}
			for _, c := range calls {
				if c.Form.Encode() != calls[0].Form.Encode() || c.Form.Get("ClientToken") != "k" {
					t.Errorf("a repeated call differs: %v", c.Form)
				}
			}
		})
	}
}

func TestWhatDoesNotPassIsUncertain(t *testing.T) {
	t.Parallel()
	s := ec2fixture.New(t, ec2fixture.Account())
	s.Inject(ec2.Fault{Code: "RequestLimitExceeded"})
	p := s.Again(func(c *provider.Config) { c.Patience = time.Second })
	o := s.Order("k")
	for what, do := range map[string]func(context.Context) error{
		"a launch":  func(ctx context.Context) error { _, err := p.Create(ctx, o); return err },
		"a look-up": func(ctx context.Context) error { _, err := p.Describe(ctx, ref(o)); return err },
		"a removal": func(ctx context.Context) error { return p.Terminate(ctx, ref(o)) },
		"a check":   func(ctx context.Context) error { return s.Provider.Check(ctx, o) }, // which has more patience
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if what == "a check" {
			before := len(s.Calls(""))
			go func() {
				for ; len(s.Calls("")) < before+3; time.Sleep(time.Millisecond) {
				}
				cancel()
			}()
		}
		err := do(ctx)
		cancel()
		is(t, what, err, nil)
		if !strings.Contains(err.Error(), "RequestLimitExceeded") {
			t.Errorf("%s: the reason is not told: %v", what, err)
		}
	}
}

// A machine that never gets to a state in which it can be stopped is no reason
// to give the stop up for ever.
func TestAStateThatDoesNotComeIsUncertain(t *testing.T) {
	t.Parallel()
	s := ec2fixture.New(t, ec2fixture.Account())
	create(t, s.Provider, s.Order("k"))
	s.Inject(ec2.Fault{Action: "StopInstances", Code: "IncorrectInstanceState"})
	p := s.Again(func(c *provider.Config) { c.Patience = time.Second })
	is(t, "the stop", p.Stop(t.Context(), ref(s.Order("k"))), nil)
}

func TestCredentialsThatExpire(t *testing.T) {
	t.Parallel()
	s := ec2fixture.New(t, ec2fixture.Account())
	if _, err := s.Provider.Create(t.Context(), s.Order("before")); err != nil {
		t.Fatal(err)
	}
	s.Expire(ec2.AccessKey)
	_, err := s.Provider.Create(t.Context(), s.Order("k"))
	is(t, "expired", err, compute.ErrCredentials)
	_, err = s.Provider.Describe(t.Context(), ref(s.Order("k")))
	is(t, "expired, a look-up", err, compute.ErrCredentials)
	s.SetKey("AKIANEW", "new")
	s.Rotate("AKIANEW", "new")
	if _, err := s.Provider.Create(t.Context(), s.Order("k")); err != nil {
		t.Errorf("after they were rotated: %v", err)
	}
	s.Expire("AKIANEW")
	s.SetKey("AKIANEXT", "next")
	s.Rotate("AKIANEXT", "next")
	if _, err := s.Provider.Create(t.Context(), s.Order("another")); err != nil {
		t.Errorf("they were rotated first, and a call was refused: %v", err)
	}
	s.Rotate("AKIANEXT", "wrong")
	_, err = s.Again().Create(t.Context(), s.Order("wrong"))
	is(t, "a wrong secret", err, compute.ErrCredentials)
	s.Rotate("", "")
	_, err = s.Again().Create(t.Context(), s.Order("none"))
	is(t, "none", err, compute.ErrCredentials)
	if s.Ours() != 3 {
		t.Errorf("%d instances", s.Ours())
	}
}
