package ec2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	api "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/understudy-dr/understudy/activities/compute"
)

// request is one call of the API, the same each time that it is made.
type request[Out any] struct {
	// what it does, for errors, such as launch g5.xlarge.
	what string
	// region that is asked; zone, for errors, within it.
	region, zone string
	do           func(context.Context, *api.Client) (Out, error)
	// again says of an error that it will pass; nil adds none to those that always pass.
	again func(error) bool
}

// call makes a request until it has an answer that counts, or its time is over;
// then the error is of no class, because the request may have had its effect.
func call[Out any](ctx context.Context, p *Provider, r request[Out]) (Out, error) {
	var none Out
	ctx, cancel := context.WithTimeout(ctx, p.config.Patience)
	defer cancel()
	var last error // that EC2 answered with; the end of our own time explains nothing
	for n, reloaded, pause := 1, false, p.config.Pause; ; n++ {
		out, generation, err := attempt(ctx, p, r)
		if err == nil {
			return out, nil
		}
		if last == nil || codeOf(err) != "" {
			last = err
		}
		class := classOf(err)
		passes := class == nil || (r.again != nil && r.again(err))
		if class == compute.ErrCredentials && !reloaded {
			p.config.Account.Reload(generation)
			reloaded, passes = true, true
		}
		if !passes {
			return none, fmt.Errorf("%w: %s in %s: %w", class, r.what, cmp.Or(r.zone, r.region), told(err))
		}
		if !wait(ctx, pause) {
			return none, fmt.Errorf("%s in %s has no answer after %d attempts; it may have been carried out: %w", r.what, cmp.Or(r.zone, r.region), n, unclassed(last))
		}
		pause = min(2*pause, maxPause)
	}
}

func attempt[Out any](ctx context.Context, p *Provider, r request[Out]) (out Out, generation int, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.config.Attempt)
	defer cancel()
	client, generation, err := p.client(ctx, r.region)
	if err == nil {
		out, err = r.do(ctx, client)
	}
	return out, generation, err
}

// wait pauses for about so long; false where the time is over.
func wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause/2 + rand.N(pause/2+1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// unclassed hides the class of an error that ended a wait: for the call as a
// whole nothing is certain.
func unclassed(err error) error {
	if classOf(err) == nil {
		return told(err)
	}
	return errors.New(told(err).Error())
}
