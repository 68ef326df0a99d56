// Package ec2 makes machines in Amazon EC2.
//
// The key of an order is the client token of its launch, and a tag of the
// instance: whatever gets lost on the way, the same call is repeated with the
// same token, and EC2 answers with the same instance. A token is good for one
// zone, so a key belongs to one placement; before a launch its region is searched
// for what the key has made already. An empty search proves nothing, which is why
// the token decides, and not the search.
//
// EC2's errors become the classes of package compute. Throttling, failures of
// the service and answers that do not come are none of them: the call is
// repeated for as long as its time lasts. Credentials that are not accepted are
// read again, once.
package ec2

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/understudy-dr/understudy/activities/awsclient"
	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// DefaultAttempt bounds one request. A launch is answered within seconds; one that is not is repeated.
	DefaultAttempt = 15 * time.Second
	// DefaultPatience bounds all attempts of one call, where its context allows more.
	DefaultPatience = time.Minute
	// DefaultPause is the wait before the second attempt; each further one is twice as long, up to maxPause.
	DefaultPause = 200 * time.Millisecond
	// DefaultPoll is the wait between two looks at an image that is being copied, which takes minutes to hours.
	DefaultPoll = 15 * time.Second
	// DefaultPage is how many instances are listed in one answer; EC2 allows 5 to 1000.
	DefaultPage = 200

	// maxPause keeps the attempts of a throttled call apart, and still finds the moment when it is let through.
	maxPause = 5 * time.Second
)

// Config is how EC2 is reached. All but Account may be left at zero.
type Config struct {
	Account *awsclient.Account
	// Attempt, Patience, Pause, Poll and Page stand in for the defaults of those names.
	Attempt, Patience, Pause, Poll time.Duration
	Page                           int32
}

// Provider makes machines in EC2. It is safe for concurrent use, and remembers
// nothing that a new process would miss.
type Provider struct {
	config Config

	mu sync.Mutex
	// generation of the credentials that the clients have.
	generation int
	clients    map[string]*api.Client // by region
	images     map[string]machineImage
}

var (
	_ compute.Provider = (*Provider)(nil)
	_ compute.Console  = (*Provider)(nil)
)

// New returns a provider. It does not connect.
func New(c Config) *Provider {
	if c.Account == nil {
		c.Account = awsclient.New(runbooks.AWS{})
	}
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{{&c.Attempt, DefaultAttempt}, {&c.Patience, DefaultPatience}, {&c.Pause, DefaultPause}, {&c.Poll, DefaultPoll}} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
	}
	if c.Page == 0 {
		c.Page = DefaultPage
	}
	return &Provider{config: c, clients: map[string]*api.Client{}, images: map[string]machineImage{}}
}

// client returns the client for a region, and the generation of its credentials.
func (p *Provider) client(ctx context.Context, region string) (*api.Client, int, error) {
	if region == "" {
		return nil, 0, fmt.Errorf("%w: the placement names no region", compute.ErrRefused)
	}
	made, generation, err := p.config.Account.Config(ctx, "ec2", region)
	if err != nil {
		if errors.Is(err, awsclient.ErrCredentials) {
			err = fmt.Errorf("%w: %w", compute.ErrCredentials, err)
		}
		return nil, generation, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if generation > p.generation {
		p.generation = generation
		clear(p.clients)
	}
	if c := p.clients[region]; c != nil && generation == p.generation {
		return c, generation, nil
	}
	// We repeat calls ourselves: the SDK takes missing capacity for a failure of the service, and would try again
	// in the same place.
	c := api.NewFromConfig(made, func(o *api.Options) { o.Retryer = aws.NopRetryer{} })
	p.clients[region] = c
	return c, generation, nil
}
