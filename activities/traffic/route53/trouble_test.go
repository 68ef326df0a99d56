package route53_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/awsclient"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/traffic/route53"
	route53fake "github.com/understudy-dr/understudy/tests/route53"
)

func TestThrottling(t *testing.T) {
	t.Parallel()
	s := start(t, route53fake.Options{Pending: 1}, pair()...)
	for _, f := range []route53fake.Fault{
		{Action: "ListResourceRecordSets", Code: "Throttling", Message: "Rate exceeded", Times: 3},
		{Action: "ChangeResourceRecordSets", Code: "PriorRequestNotComplete", Times: 3},
		{Action: "ListResourceRecordSets", Code: "ServiceUnavailable", Times: 1},
		{Action: "GetChange", Code: "InternalFailure", Times: 3},
	} {
		s.Inject(f)
	}
	b := s.balancer()
	apply(t, b, toHot)
	if n := len(s.batches()); n != 4 {
		t.Errorf("%d changes were sent, want 3 that were throttled and one", n)
	}
	s.Inject(route53fake.Fault{Code: "Throttling", Message: "Rate exceeded"})
	impatient := s.balancer(func(c *route53.Config) { c.Patience = time.Second })
	_, err := impatient.Apply(t.Context(), toPrimary)
	if !errors.Is(err, traffic.ErrUnreachable) || !strings.Contains(err.Error(), "Throttling: Rate exceeded (Route 53 allows five requests a second to a whole account) [request ") {
		t.Errorf("throttled for good: %v", err)
	}
	if _, err := b.View(t.Context()); !errors.Is(err, traffic.ErrUnreachable) {
		t.Errorf("a view: %v", err)
	}
}

// TestAFailureOfTheServiceIsNotRepeatedBlindly: a change may have been made although the answer is an error.
func TestAFailureOfTheServiceIsNotRepeatedBlindly(t *testing.T) {
	t.Parallel()
	s := start(t, route53fake.Options{}, pair()...)
	b := s.balancer()
	s.Inject(route53fake.Fault{Action: "ChangeResourceRecordSets", Code: "InternalFailure", Arrives: true, Times: 1})
	if _, err := b.Apply(t.Context(), toHot); !errors.Is(err, traffic.ErrUnreachable) || len(s.batches()) != 1 {
		t.Errorf("apply: %v after %d changes, want ErrUnreachable after one", err, len(s.batches()))
	}
	apply(t, b, toHot)
}

func TestACallThatHangsInTheMiddle(t *testing.T) {
	t.Parallel()
	s := start(t, route53fake.Options{Pending: 1}, pair()...)
	hurried := s.balancer(func(c *route53.Config) { c.Attempt = 100 * time.Millisecond })
	s.Inject(route53fake.Fault{Action: "ChangeResourceRecordSets", Hang: true, Times: 1})
	for len(s.batches()) == 0 { // a machine that runs many tests may be too slow even to read so quickly
		if _, err := hurried.Apply(t.Context(), toHot); !errors.Is(err, traffic.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a change that hangs: %v", err)
		}
	}
	// A look that fails says nothing of the change; the next one may come through.
	s.Inject(route53fake.Fault{Action: "GetChange", Hang: true, Times: 1})
	s.Inject(route53fake.Fault{Action: "GetChange", Drop: true, Times: 2})
	patient := s.balancer(func(c *route53.Config) { c.Attempt = 3 * time.Second })
	apply(t, patient, toHot)
	if n := len(s.Calls("GetChange")); n != 5 {
		t.Errorf("%d looks, want 3 in vain, one at a change that is pending, and one", n)
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	s := start(t, route53fake.Options{}, pair()...)
	b := s.balancer()
	apply(t, b, toHot)

	const second = "AKIASECONDSECONDSECO"
	s.Expire(route53fake.AccessKey)
	if _, err := b.Apply(t.Context(), toPrimary); !errors.Is(err, traffic.ErrUnreachable) || !strings.Contains(err.Error(), "AWS does not accept the credentials: ExpiredToken: ") || !strings.Contains(err.Error(), "renew the credentials") {
		t.Errorf("expired: %v", err)
	}
	s.SetKey(second)
	s.rotate(second)
	apply(t, b, toPrimary)

	s.aws.SecretKey.File += "-that-is-not-there"
	if _, err := s.balancer().Apply(t.Context(), toHot); !errors.Is(err, traffic.ErrUnreachable) || !errors.Is(err, awsclient.ErrCredentials) {
		t.Errorf("none: %v", err)
	}
}

func TestWhatNoRetryMends(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault route53fake.Fault
		want  string
	}{
		"reading":  {route53fake.Fault{Action: "ListResourceRecordSets", Code: "AccessDenied"}, "list the records of asr.example.com: AccessDenied: as the test wants it (deploy/aws has the policy that Understudy needs)"},
		"changing": {route53fake.Fault{Action: "ChangeResourceRecordSets", Code: "AccessDenied"}, "change asr.example.com: AccessDenied"},
		"looking":  {route53fake.Fault{Action: "GetChange", Code: "AccessDenied"}, "ask for the change /change/C0000000000001: AccessDenied"},
		"a batch":  {route53fake.Fault{Action: "ChangeResourceRecordSets", Code: "InvalidChangeBatch", Message: "[no\nidea]"}, `InvalidChangeBatch: `},
	} {
		s := start(t, route53fake.Options{}, pair()...)
		s.Inject(c.fault)
		_, err := s.balancer().Apply(t.Context(), toHot)
		if !errors.Is(err, traffic.ErrRefused) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want ErrRefused with %q", name, err, c.want)
		}
	}
	s := start(t, route53fake.Options{}, pair()...)
	s.traffic.Zone = "ZSOMEBODYELSES"
	if _, err := s.balancer().View(t.Context()); !errors.Is(err, traffic.ErrRefused) || !strings.Contains(err.Error(), "NoSuchHostedZone: No hosted zone found with ID: ZSOMEBODYELSES (traffic.zone is the zone's id") {
		t.Errorf("another zone: %v", err)
	}
}

// TestAStranger: something else answers at the endpoint, such as a proxy that wants a login.
func TestAStranger(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"a page": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("<html><body>log in</body></html>"))
		},
		"nothing":      func(http.ResponseWriter, *http.Request) {},
		"a refusal":    func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>no</html>", http.StatusForbidden) },
		"noise":        func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("\x00\x01<")) },
		"another page": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) },
	} {
		stranger := httptest.NewServer(answer)
		t.Cleanup(stranger.Close)
		s := start(t, route53fake.Options{}, pair()...)
		s.aws.Endpoints = map[string]string{"route53": stranger.URL}
		b := s.balancer()
		for what, err := range map[string]error{"view": second(b.View(t.Context())), "apply": second(b.Apply(t.Context(), toHot))} {
			if !errors.Is(err, traffic.ErrUnreachable) {
				t.Errorf("%s: %s: %v, want ErrUnreachable", name, what, err)
			}
		}
	}
}

func second(_ traffic.View, err error) error { return err }

// TestWhatItMayDo holds the calls against what an operator allows: one zone, one
// name, and to replace records of three types.
func TestWhatItMayDo(t *testing.T) {
	t.Parallel()
	allowed := map[string][]string{
		"route53:ChangeResourceRecordSetsNormalizedRecordNames": {record},
		"route53:ChangeResourceRecordSetsRecordTypes":           {"A", "AAAA", "CNAME"},
		"route53:ChangeResourceRecordSetsActions":               {"CREATE", "DELETE"},
	}
	s := start(t, route53fake.Options{Allow: func(access route53fake.Access) bool {
		for key, values := range access.Keys {
			for _, v := range values {
				if !slices.Contains(allowed[key], v) {
					return false
				}
			}
		}
		zone := "arn:aws:route53:::hostedzone/" + route53fake.Zone
		switch access.Action {
		case "route53:ChangeResourceRecordSets", "route53:ListResourceRecordSets":
			return access.Resource == zone
		default:
			return access.Action == "route53:GetChange" && strings.HasPrefix(access.Resource, "arn:aws:route53:::change/")
		}
	}}, pair()...)
	b := s.balancer()
	apply(t, b, toHot)
	apply(t, s.balancer(), toHot)
	apply(t, b, toPrimary)
}
