package route53

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/smithy-go"

	"github.com/understudy-dr/understudy/activities/traffic"
)

func TestWhatErrorsMean(t *testing.T) {
	code := func(code string) error { return &smithy.GenericAPIError{Code: code, Message: "m"} }
	batch := func(message string, more ...string) error {
		return &types.InvalidChangeBatch{Message: aws.String(message), Messages: more}
	}
	for _, c := range []struct {
		name string
		err  error
		// kind is nil for what somebody else has caused.
		kind error
		text string
	}{
		{"another policy", code("AccessDenied"), traffic.ErrRefused, "change it: AccessDenied: m (deploy/aws has the policy"},
		{"a limit of the account", code("LimitsExceeded"), traffic.ErrRefused, "LimitsExceeded: m"},
		{"throttled", code("Throttling"), traffic.ErrUnreachable, "five requests a second"},
		{"a zone that is busy", code("PriorRequestNotComplete"), traffic.ErrUnreachable, "an earlier change of the zone"},
		{"a clock that is off", code("RequestExpired"), traffic.ErrUnreachable, "AWS does not accept the credentials: RequestExpired: m (the credentials have expired, or this machine's clock is off)"},
		{"somebody else's answer", code("UnknownError"), traffic.ErrUnreachable, "UnknownError"},
		{"no answer", errors.New("connection refused"), traffic.ErrUnreachable, "change it: connection refused"},
		{"a bad batch", batch("[RRSet of type CNAME conflicts]"), traffic.ErrRefused, "RRSet of type CNAME conflicts"},
		{"a bad batch with a list", batch("ChangeBatch errors occurred", "one", "two"), traffic.ErrRefused, "InvalidChangeBatch: one; two"},
		{"removed meanwhile", batch("[Tried to delete resource record set [name='a.', type='A', set identifier='hot'] but it was not found]"), nil, "nothing was done, try again"},
		{"changed meanwhile", batch("", "x", "Tried to delete resource record set [name='a.'] but the values provided do not match the current values"), nil, "somebody else has changed the records meanwhile"},
		{"created meanwhile", batch("[Tried to create resource record set [name='a.'] but it already exists]"), nil, "change it: somebody else"},
		{"hostile text", code("Odd\nCode"), traffic.ErrRefused, "m"},
	} {
		err := failed(t.Context(), "change it", c.err)
		for _, kind := range []error{traffic.ErrRefused, traffic.ErrUnreachable} {
			if errors.Is(err, kind) != (kind == c.kind) {
				t.Errorf("%s: %v, want %v", c.name, err, c.kind)
			}
		}
		if !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q, want %q", c.name, err, c.text)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := failed(ctx, "change it", code("AccessDenied")); !errors.Is(err, context.Canceled) || !errors.Is(err, traffic.ErrUnreachable) {
		t.Errorf("at the end of the time: %v", err)
	}
}

func TestACommentFits(t *testing.T) {
	c := traffic.Change{}
	for range 20 {
		c.Set = append(c.Set, traffic.Assignment{Server: strings.Repeat("a", 100), State: traffic.Maint})
	}
	if text := comment(c); len(text) != mostComment {
		t.Errorf("%d characters, and Route 53 takes %d", len(text), mostComment)
	}
}
