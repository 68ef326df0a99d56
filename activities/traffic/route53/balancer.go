// Package route53 moves traffic by the weights of records in Amazon Route 53.
//
// A name has one weighted record for each server, made beforehand by its
// operator; the set identifier of a record is the server's name. A server that
// is ready has weight, any other has weight 0. A server may have a record of
// type A and one of type AAAA: they move together. Records are never made and
// never removed here, only replaced: a change deletes each record with exactly
// the values that were read and creates it with the new ones, in one batch, of
// which Route 53 carries out all or nothing. So nobody ever resolves half a
// switch, and a change that somebody else came before, or that arrives long
// after it was sent, is not carried out at all.
//
// What Route 53 does, and what follows for those who call:
//
//   - Where all records of a name have weight 0, it answers all of them. A change
//     that would leave no server with weight is therefore refused: put another
//     server on the traffic in the same change. A runbook's traffic.home names a
//     server that does so by itself: it has weight while no other has.
//   - A change is at all name servers, "in sync", after up to a minute; Apply
//     waits for that. Clients then keep what they know for the record's TTL.
//   - Of an address only the host counts, and maint and drain are the same:
//     whoever knows the old address goes on with it. Change.Cut does nothing.
//   - A weight that was taken is not known any more: who comes back has 100.
//   - A record with a health check is answered only while that passes. Where it
//     fails for all records with weight, Route 53 answers those of weight 0, and
//     so a server that is off the traffic may be on it. Fence it elsewhere too.
//   - Five requests a second are allowed to a whole account. Calls that are
//     throttled are made again, further and further apart.
//   - The control plane is in us-east-1, for all regions but China's.
package route53

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	api "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/understudy-dr/understudy/activities/awsclient"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// DefaultAttempt bounds one request of Apply; from the other end of the world Route 53 answers within a second.
	DefaultAttempt = 5 * time.Second
	// DefaultPatience is for how long a call that is throttled is made again.
	DefaultPatience = 30 * time.Second
	// DefaultPause is the wait before it is made again; each further one is twice as long, up to maxPause.
	DefaultPause = 200 * time.Millisecond
	// DefaultPoll is the wait between two looks at a change. Few looks leave room for others in the account's limit.
	DefaultPoll = 2 * time.Second
	// DefaultSync bounds the wait until a change is in sync. AWS says 60 seconds; far above it something is wrong.
	DefaultSync = 5 * time.Minute

	maxPause = 3 * time.Second
	// viewPatience bounds a view: it promises an answer within a second.
	viewPatience = 900 * time.Millisecond
)

// Config is what a balancer drives, and how. All but Traffic may be left at zero.
type Config struct {
	// Traffic is a runbook's traffic section of kind route53.
	Traffic runbooks.Traffic
	// Account is how AWS is reached. Default: with the AWS SDK's usual sources of credentials.
	Account *awsclient.Account
	// Attempt, Patience, Pause, Poll and Sync stand in for the defaults of those names.
	Attempt, Patience, Pause, Poll, Sync time.Duration
}

// Balancer is the weighted records of one name. It is safe for concurrent use.
type Balancer struct {
	config             Config
	zone, record, port string

	// turn is held from reading the records to writing them, so that the callers of one process do not fail at each other.
	turn chan struct{}

	mu sync.Mutex
	// generation of the credentials that the client has.
	generation int
	client     *api.Client
	progress   progress
}

var _ traffic.Balancer = (*Balancer)(nil)

var zoneID = regexp.MustCompile(`^[A-Z0-9]{1,32}$`)

// New makes a balancer. It does not connect.
func New(c Config) (*Balancer, error) {
	zone := strings.TrimPrefix(c.Traffic.Zone, "/hostedzone/")
	if !zoneID.MatchString(zone) {
		return nil, fmt.Errorf("%w: traffic.zone %q is no id of a hosted zone; it looks like Z0123456789ABC", traffic.ErrRefused, c.Traffic.Zone)
	}
	if err := traffic.ValidAddress(strings.TrimSuffix(c.Traffic.Record, ".") + ":1"); err != nil {
		return nil, fmt.Errorf("traffic.record: %w", err)
	}
	if c.Traffic.Home != "" {
		if err := traffic.ValidName(c.Traffic.Home); err != nil {
			return nil, fmt.Errorf("traffic.home: %w", err)
		}
	}
	port, err := portOf(c.Traffic.Front)
	if err != nil {
		return nil, err
	}
	if c.Account == nil {
		c.Account = awsclient.New(runbooks.AWS{})
	}
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{{&c.Attempt, DefaultAttempt}, {&c.Patience, DefaultPatience}, {&c.Pause, DefaultPause}, {&c.Poll, DefaultPoll}, {&c.Sync, DefaultSync}} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
	}
	return &Balancer{config: c, zone: zone, record: canonical(c.Traffic.Record), port: port, turn: make(chan struct{}, 1)}, nil
}

// View reads the records as Route 53 has taken them, whether or not all name
// servers have them yet. With ErrDisagree it says that names resolve to others
// than the servers that are ready: where none has weight, or where traffic.home
// has weight beside another.
func (b *Balancer) View(ctx context.Context) (traffic.View, error) {
	ctx, cancel := context.WithTimeout(ctx, viewPatience)
	defer cancel()
	at := time.Now()
	found, err := b.read(ctx)
	if err != nil {
		return traffic.View{}, err
	}
	return found.view(at, b.port), errors.Join(found.astray(), found.beside(b.config.Traffic.Home))
}

// Apply returns once the change is at all name servers. What the records show
// already is written once more, with the same values, unless this process has
// seen it in sync: of a change that somebody else has made nothing tells how far
// it has come, but of one that repeats it.
func (b *Balancer) Apply(ctx context.Context, c traffic.Change) (traffic.View, error) {
	if err := c.Validate(); err != nil {
		return traffic.View{}, err
	}
	submitted, err := b.submit(ctx, c)
	if err != nil {
		return traffic.View{}, err
	}
	if err := b.await(ctx, submitted); err != nil {
		return traffic.View{}, err
	}
	at := time.Now()
	found, err := b.read(ctx)
	if err != nil {
		return traffic.View{}, err
	}
	view := found.view(at, b.port)
	return view, errors.Join(view.Shows(c), found.astray())
}

// submit makes the change, where there is anything to change, and returns what
// is to be waited for.
func (b *Balancer) submit(ctx context.Context, c traffic.Change) (submission, error) {
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return submission{}, fmt.Errorf("%w: another change of %s is on its way: %w", traffic.ErrUnreachable, b.name(), ctx.Err())
	}
	before, err := b.read(ctx)
	if err != nil || len(c.Set) == 0 {
		return submission{}, err
	}
	after, err := before.changed(c, b.config.Traffic.Home)
	if err != nil {
		return submission{}, err
	}
	batch := replacements(before, after)
	if len(batch) == 0 {
		return b.repeat(ctx, c, after)
	}
	id, err := b.write(ctx, c, batch)
	if err != nil {
		return submission{}, err
	}
	return b.submitted(id, after.text()), nil
}

// repeat is for a change that the records show already.
func (b *Balancer) repeat(ctx context.Context, c traffic.Change, found records) (submission, error) {
	if known, ok := b.known(found.text()); ok {
		return known, nil
	}
	id, err := b.write(ctx, c, repetitions(found, c))
	var invalid *types.InvalidChangeBatch
	switch {
	case errors.Is(err, traffic.ErrRefused) && errors.As(err, &invalid):
		return submission{}, nil // it does not take what changes nothing; then what the records show must do
	case err != nil:
		return submission{}, err
	default:
		return b.submitted(id, found.text()), nil
	}
}

// name is the record as its operator writes it.
func (b *Balancer) name() string { return strings.TrimSuffix(b.record, ".") }

// portOf is the port at which clients come to the front door.
func portOf(front string) (string, error) {
	u, err := url.Parse(front)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", fmt.Errorf("%w: traffic.front %q is no URL", traffic.ErrRefused, front)
	}
	if port := u.Port(); port != "" {
		return port, nil
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme], nil
}
