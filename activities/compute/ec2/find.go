package ec2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/runbooks"
)

// seen is an instance as a look-up shows it.
type seen struct {
	types.Instance
	region string
	tags   map[string]string
}

// Describe returns an instance as it is now. A search by key also finds what a
// launch with that client token has made, even where its tags cannot be seen yet.
func (p *Provider) Describe(ctx context.Context, r compute.Ref) (compute.Machine, error) {
	s, err := p.one(ctx, r)
	if err != nil {
		return compute.Machine{}, err
	}
	return s.machine(r.Provision, r.Placement), nil
}

// one finds the instance of a reference, or is ErrNone.
func (p *Provider) one(ctx context.Context, r compute.Ref) (seen, error) {
	all, err := p.find(ctx, r)
	switch {
	case len(all) > 0:
		return all[0], nil // another region that does not answer is of no interest then
	case err != nil:
		return seen{}, err
	default:
		return seen{}, fmt.Errorf("%w: %s", compute.ErrNone, nameOf(r))
	}
}

// List returns the machines that carry our tags and are neither gone nor going,
// in all regions of the placements. Where some regions do not answer, it returns what the others
// have, together with the error.
func (p *Provider) List(ctx context.Context, provision runbooks.Provision, service string) ([]compute.Machine, error) {
	filters := []types.Filter{
		filter("tag:"+compute.TagManagedBy, compute.ManagedBy),
		filter("instance-state-name", "pending", "running", "stopping", "stopped"),
	}
	if service != "" {
		filters = append(filters, filter("tag:"+compute.TagService, escaped.Replace(service)))
	}
	all, err := p.inRegions(ctx, compute.Ref{Provision: provision}, func(ctx context.Context, region string) ([]seen, error) {
		return p.describe(ctx, region, "list our instances", &api.DescribeInstancesInput{Filters: filters, MaxResults: aws.Int32(p.config.Page)})
	})
	var machines []compute.Machine
	for _, s := range all {
		machines = append(machines, s.machine(provision, runbooks.Placement{}))
	}
	return machines, err
}

// find looks for the instance of a reference: by ID, or else everything that
// carries the key; what is alive comes first. Where some regions do not answer,
// it returns what the others have, together with the error.
func (p *Provider) find(ctx context.Context, r compute.Ref) ([]seen, error) {
	if r.ID == "" {
		if r.Key == "" {
			return nil, refused("the reference has neither an ID nor a key")
		}
		if err := compute.CheckKey(r.Key); err != nil {
			return nil, err
		}
	}
	found, err := p.inRegions(ctx, r, func(ctx context.Context, region string) ([]seen, error) {
		if r.ID != "" {
			all, err := p.describe(ctx, region, "describe "+r.ID, &api.DescribeInstancesInput{InstanceIds: []string{r.ID}})
			if errors.Is(err, compute.ErrNone) {
				return nil, nil
			}
			return all, err
		}
		return p.byKey(ctx, region, r.Key)
	})
	slices.SortStableFunc(found, func(a, b seen) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(aws.ToTime(a.LaunchTime).UnixNano(), aws.ToTime(b.LaunchTime).UnixNano()))
	})
	return found, err
}

// rank puts what is alive before what is not.
func rank(s seen) int {
	return map[compute.State]int{compute.Running: 0, compute.Pending: 0, compute.Stopped: 1, compute.Stopping: 2, compute.Gone: 3}[s.state()]
}

// byKey looks for the client token and for the tag, since a prepared machine
// has only the tag, and one that was launched a moment ago may show only the token.
func (p *Provider) byKey(ctx context.Context, region, key string) ([]seen, error) {
	looks := gather([]string{"client-token", "tag:" + compute.TagKey}, func(name string) ([]seen, error) {
		return p.describe(ctx, region, "look for key "+key, &api.DescribeInstancesInput{Filters: []types.Filter{filter(name, key)}, MaxResults: aws.Int32(p.config.Page)})
	})
	var found []seen
	for _, look := range looks {
		if look.err != nil {
			return nil, look.err
		}
		for _, s := range look.found {
			if !slices.ContainsFunc(found, func(other seen) bool { return other.id() == s.id() }) {
				found = append(found, s)
			}
		}
	}
	return found, nil
}

// describe reads all pages of a look-up.
func (p *Provider) describe(ctx context.Context, region, what string, in *api.DescribeInstancesInput) ([]seen, error) {
	var all []seen
	for {
		page := *in
		out, err := call(ctx, p, request[*api.DescribeInstancesOutput]{what: what, region: region, do: func(ctx context.Context, c *api.Client) (*api.DescribeInstancesOutput, error) {
			return c.DescribeInstances(ctx, &page)
		}})
		if err != nil {
			return nil, err
		}
		for _, r := range out.Reservations {
			for _, i := range r.Instances {
				if i.InstanceId != nil && i.State != nil {
					all = append(all, seen{Instance: i, region: region, tags: tagMap(i.Tags)})
				}
			}
		}
		if in.NextToken = out.NextToken; aws.ToString(in.NextToken) == "" {
			return all, nil
		}
	}
}

// inRegions asks the region of the placement, or else all regions of the
// provision at once, so that one that is down does not hold up the others.
func (p *Provider) inRegions(ctx context.Context, r compute.Ref, ask func(context.Context, string) ([]seen, error)) ([]seen, error) {
	regions := []string{r.Placement.Region}
	if r.Placement.Region == "" {
		regions = regionsOf(r.Provision)
	}
	if len(regions) == 0 {
		return nil, refused("no placement names a region")
	}
	var all []seen
	var errs []error
	for _, got := range gather(regions, func(region string) ([]seen, error) { return ask(ctx, region) }) {
		all = append(all, got.found...)
		errs = append(errs, got.err)
	}
	return all, errors.Join(errs...)
}

// look is what one of several look-ups found.
type look struct {
	found []seen
	err   error
}

// gather makes look-ups at once and returns their results in order.
func gather(names []string, ask func(string) ([]seen, error)) []look {
	looks := make([]look, len(names))
	var all sync.WaitGroup
	for n, name := range names {
		all.Go(func() { looks[n].found, looks[n].err = ask(name) })
	}
	all.Wait()
	return looks
}

func regionsOf(p runbooks.Provision) []string {
	var regions []string
	for _, place := range p.Placements {
		if place.Region != "" && !slices.Contains(regions, place.Region) {
			regions = append(regions, place.Region)
		}
	}
	return regions
}

func (s seen) id() string { return aws.ToString(s.InstanceId) }

func (s seen) zone() string {
	if s.Placement == nil {
		return ""
	}
	return aws.ToString(s.Placement.AvailabilityZone)
}

func (s seen) state() compute.State {
	switch s.State.Name {
	case types.InstanceStateNamePending:
		return compute.Pending
	case types.InstanceStateNameRunning:
		return compute.Running
	case types.InstanceStateNameStopped:
		return compute.Stopped
	case types.InstanceStateNameTerminated:
		return compute.Gone
	default:
		return compute.Stopping
	}
}

// ending reports whether an instance is gone or will be, whatever one does.
func (s seen) ending() bool {
	return s.State.Name == types.InstanceStateNameTerminated || s.State.Name == types.InstanceStateNameShuttingDown
}

// machine is the instance in the words of package compute. The price is that of
// the placement, or of one that the instance can have been made at.
func (s seen) machine(provision runbooks.Provision, place runbooks.Placement) compute.Machine {
	m := compute.Machine{
		ID: s.id(), Key: cmp.Or(s.tags[compute.TagKey], aws.ToString(s.ClientToken)), State: s.state(), Address: aws.ToString(s.PrivateIpAddress),
		Where: strings.TrimSpace(cmp.Or(s.zone(), s.region) + " " + string(s.InstanceType)), Tags: s.tags, Made: aws.ToTime(s.LaunchTime), Price: place.Price,
	}
	if place.Region == "" {
		m.Price = s.price(provision)
	}
	if m.State != compute.Running && m.State != compute.Pending {
		m.Detail = s.reason()
	}
	return m
}

func (s seen) price(provision runbooks.Provision) float64 {
	for _, place := range provision.Placements {
		if place.Instance == s.id() || place.Region == s.region && place.Type == string(s.InstanceType) && (place.Zone == "" || place.Zone == s.zone()) {
			return place.Price
		}
	}
	return 0
}

// reason is EC2's for the state of an instance.
func (s seen) reason() string {
	if s.StateReason != nil && aws.ToString(s.StateReason.Message) != "" {
		return *s.StateReason.Message
	}
	return cmp.Or(aws.ToString(s.StateTransitionReason), "EC2 gives no reason")
}

// filter of a look-up; its values are alternatives.
func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: aws.String(name), Values: values}
}

// escaped takes their meaning from the characters that filters give one.
var escaped = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`)

func tagMap(tags []types.Tag) map[string]string {
	m := map[string]string{}
	for _, t := range tags {
		m[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return m
}

func nameOf(r compute.Ref) string { return strings.TrimSpace(r.ID + " " + r.Key) }
