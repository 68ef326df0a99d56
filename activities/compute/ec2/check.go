package ec2

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-dr/understudy/activities/compute"
)

// Check asks whether an order would be taken: image there, type offered in the
// zone, room in the reservation, launch permitted. Whether there is a machine
// free only a launch tells. See compute.Provider.
func (p *Provider) Check(ctx context.Context, o compute.Order) error {
	if err := checkOrder(o); err != nil {
		return err
	}
	if o.Placement.Instance != "" {
		return p.checkPrepared(ctx, o)
	}
	in, err := p.launchInput(ctx, o)
	if err != nil {
		return err
	}
	if err := p.checkOffered(ctx, o); err != nil {
		return err
	}
	if err := p.checkReservation(ctx, o); err != nil {
		return err
	}
	in.DryRun, in.ClientToken = aws.Bool(true), nil // the key is not used up, whatever EC2 makes of tokens here
	_, err = call(ctx, p, request[*api.RunInstancesOutput]{what: "a dry run of launching " + o.Placement.Type, region: o.Placement.Region, zone: o.Placement.Zone,
		do: func(ctx context.Context, c *api.Client) (*api.RunInstancesOutput, error) {
			return c.RunInstances(ctx, in)
		}})
	return dryRun(err)
}

// dryRun reads the answer to a call that was not meant: permitted is an error too.
func dryRun(err error) error {
	if codeOf(err) == "DryRunOperation" {
		return nil
	}
	if err == nil {
		return errors.New("EC2 took a dry run for an order; look whether it has made something")
	}
	return err
}

func (p *Provider) checkPrepared(ctx context.Context, o compute.Order) error {
	s, err := p.prepared(ctx, o)
	if err != nil {
		return err
	}
	_, err = call(ctx, p, request[*api.StartInstancesOutput]{what: "a dry run of starting " + s.id(), region: s.region, zone: s.zone(),
		again: func(err error) bool { return codeOf(err) == "InvalidInstanceID.NotFound" },
		do: func(ctx context.Context, c *api.Client) (*api.StartInstancesOutput, error) {
			return c.StartInstances(ctx, &api.StartInstancesInput{InstanceIds: []string{s.id()}, DryRun: aws.Bool(true)})
		}})
	return dryRun(err)
}

func (p *Provider) checkOffered(ctx context.Context, o compute.Order) error {
	in := &api.DescribeInstanceTypeOfferingsInput{
		LocationType: types.LocationTypeAvailabilityZone, Filters: []types.Filter{filter("instance-type", escaped.Replace(o.Placement.Type))},
	}
	if o.Placement.Zone != "" {
		in.Filters = append(in.Filters, filter("location", o.Placement.Zone))
	}
	out, err := call(ctx, p, request[*api.DescribeInstanceTypeOfferingsOutput]{what: "ask for machine types", region: o.Placement.Region, zone: o.Placement.Zone,
		do: func(ctx context.Context, c *api.Client) (*api.DescribeInstanceTypeOfferingsOutput, error) {
			return c.DescribeInstanceTypeOfferings(ctx, in)
		}})
	if err == nil && len(out.InstanceTypeOfferings) == 0 {
		return fmt.Errorf("%w: EC2 does not offer %s in %s%s", compute.ErrCapacity, o.Placement.Type, o.Placement.Region, zoneText(o))
	}
	return err
}

func (p *Provider) checkReservation(ctx context.Context, o compute.Order) error {
	id := o.Placement.Reservation
	if id == "" {
		return nil
	}
	out, err := call(ctx, p, request[*api.DescribeCapacityReservationsOutput]{what: "look at reservation " + id, region: o.Placement.Region,
		do: func(ctx context.Context, c *api.Client) (*api.DescribeCapacityReservationsOutput, error) {
			return c.DescribeCapacityReservations(ctx, &api.DescribeCapacityReservationsInput{CapacityReservationIds: []string{id}})
		}})
	if err != nil {
		return err
	}
	for _, r := range out.CapacityReservations {
		switch {
		case r.State != types.CapacityReservationStateActive:
			return fmt.Errorf("%w: reservation %s is %s", compute.ErrCapacity, id, r.State)
		case aws.ToString(r.InstanceType) != o.Placement.Type || o.Placement.Zone != "" && aws.ToString(r.AvailabilityZone) != o.Placement.Zone:
			return refused("reservation %s is for %s in %s, and the placement wants %s%s",
				id, aws.ToString(r.InstanceType), aws.ToString(r.AvailabilityZone), o.Placement.Type, zoneText(o))
		case aws.ToInt32(r.AvailableInstanceCount) < 1:
			return fmt.Errorf("%w: reservation %s is full", compute.ErrCapacity, id)
		}
	}
	return nil
}

func zoneText(o compute.Order) string {
	if o.Placement.Zone == "" {
		return ""
	}
	return ", zone " + o.Placement.Zone
}
