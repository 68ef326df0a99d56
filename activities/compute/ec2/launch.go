package ec2

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-dr/understudy/activities/compute"
)

const (
	// maxUserData is the most that EC2 hands to an instance, in bytes before base64.
	maxUserData = 16 << 10
	// hops that an answer of the metadata service may take: two, or containers on the machine have no role.
	hops = 2
)

// Create launches an instance, or finds the one that the key has launched; a
// placement that names a prepared instance has that one started. See
// compute.Provider. The key belongs to one placement.
func (p *Provider) Create(ctx context.Context, o compute.Order) (compute.Machine, error) {
	if err := checkOrder(o); err != nil {
		return compute.Machine{}, err
	}
	if o.Placement.Instance != "" {
		return p.wake(ctx, o)
	}
	found, err := p.byKey(ctx, o.Placement.Region, o.Key)
	if err != nil {
		return compute.Machine{}, err
	}
	if len(found) > 0 {
		return claim(o, found)
	}
	in, err := p.launchInput(ctx, o)
	if err != nil {
		return compute.Machine{}, err
	}
	out, err := call(ctx, p, request[*api.RunInstancesOutput]{
		what: "launch " + o.Placement.Type, region: o.Placement.Region, zone: o.Placement.Zone,
		do: func(ctx context.Context, c *api.Client) (*api.RunInstancesOutput, error) {
			return c.RunInstances(ctx, in)
		},
	})
	if errors.Is(err, errMismatch) {
		return p.afterMismatch(ctx, o, err)
	}
	if err != nil {
		return compute.Machine{}, err
	}
	if len(out.Instances) == 0 || out.Instances[0].InstanceId == nil || out.Instances[0].State == nil {
		return compute.Machine{}, fmt.Errorf("launch %s in %s: EC2 took the order and named no instance", o.Placement.Type, o.Placement.Region)
	}
	return claim(o, []seen{{Instance: out.Instances[0], region: o.Placement.Region, tags: tagMap(out.Instances[0].Tags)}})
}

// checkOrder refuses what no look at EC2 is needed to refuse.
func checkOrder(o compute.Order) error {
	if err := compute.CheckKey(o.Key); err != nil {
		return err
	}
	if o.Placement.Region == "" {
		return refused("the placement names no region")
	}
	_, err := userData(o.Boot)
	return err
}

// claim returns the instance that a key has made, if it is this order's and lives.
func claim(o compute.Order, found []seen) (compute.Machine, error) {
	for _, s := range found {
		if s.ending() {
			continue
		}
		if why := difference(o, s); why != "" {
			return compute.Machine{}, fmt.Errorf("%w: key %s has made %s, %s", compute.ErrUsed, o.Key, s.id(), why)
		}
		m := s.machine(o.Provision, o.Placement)
		if len(m.Tags) == 0 {
			m.Tags = o.Tags() // they were set at the launch, and cannot be seen yet
		}
		return m, nil
	}
	return compute.Machine{}, fmt.Errorf("%w: key %s has made %s, which is gone: %s", compute.ErrUsed, o.Key, found[0].id(), found[0].reason())
}

// difference says in which way an instance is not what an order wants; empty
// where it is.
func difference(o compute.Order, s seen) string {
	for _, c := range []struct{ what, got, want string }{
		{"zone", s.zone(), o.Placement.Zone}, {"type", string(s.InstanceType), o.Placement.Type}, {"subnet", aws.ToString(s.SubnetId), o.Placement.Subnet},
		{"service", s.tags[compute.TagService], o.Service}, {"epoch", s.tags[compute.TagEpoch], fmt.Sprint(o.Epoch)},
	} {
		if c.got != "" && c.want != "" && c.got != c.want {
			return fmt.Sprintf("of %s %s, not %s", c.what, c.got, c.want)
		}
	}
	if got := aws.ToString(s.ImageId); imageID.MatchString(o.Placement.Image) && got != "" && got != o.Placement.Image {
		return fmt.Sprintf("of image %s, not %s", got, o.Placement.Image)
	}
	return ""
}

// afterMismatch finds out what a token was used for. It can be this very order:
// the settings in its boot document, or the image that a name means, may have
// changed between two calls. While nothing can be seen nothing is certain.
func (p *Provider) afterMismatch(ctx context.Context, o compute.Order, mismatch error) (compute.Machine, error) {
	ctx, cancel := context.WithTimeout(ctx, p.config.Patience)
	defer cancel()
	for pause := p.config.Pause; ; pause = min(2*pause, maxPause) {
		found, err := p.byKey(ctx, o.Placement.Region, o.Key)
		if err != nil {
			return compute.Machine{}, err
		}
		if len(found) > 0 {
			return claim(o, found)
		}
		if !wait(ctx, pause) {
			return compute.Machine{}, fmt.Errorf("key %s was used before, and what it has made cannot be seen yet: %w", o.Key, mismatch)
		}
	}
}

// launchInput is the request of a launch, the same each time for one order.
func (p *Provider) launchInput(ctx context.Context, o compute.Order) (*api.RunInstancesInput, error) {
	from, err := p.image(ctx, o.Placement.Region, o.Placement.Image)
	if err != nil {
		return nil, err
	}
	data, err := userData(o.Boot)
	if err != nil {
		return nil, err
	}
	in := &api.RunInstancesInput{
		ClientToken: aws.String(o.Key), ImageId: aws.String(from.id), InstanceType: types.InstanceType(o.Placement.Type),
		MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		MetadataOptions: &types.InstanceMetadataOptionsRequest{
			HttpEndpoint: types.InstanceMetadataEndpointStateEnabled, HttpTokens: types.HttpTokensStateRequired, HttpPutResponseHopLimit: aws.Int32(hops),
		},
		NetworkInterfaces: []types.InstanceNetworkInterfaceSpecification{{
			DeviceIndex: aws.Int32(0), AssociatePublicIpAddress: aws.Bool(false), DeleteOnTermination: aws.Bool(true), Groups: o.Placement.SecurityGroups,
		}},
		BlockDeviceMappings: volumes(o, from),
	}
	if data != "" {
		in.UserData = aws.String(data)
	}
	if o.Placement.Subnet != "" {
		in.NetworkInterfaces[0].SubnetId = aws.String(o.Placement.Subnet)
	}
	if o.Placement.Zone != "" {
		in.Placement = &types.Placement{AvailabilityZone: aws.String(o.Placement.Zone)}
	}
	if o.Provision.Profile != "" {
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: aws.String(o.Provision.Profile)}
	}
	if o.Placement.Reservation != "" {
		in.CapacityReservationSpecification = &types.CapacityReservationSpecification{
			CapacityReservationTarget: &types.CapacityReservationTarget{CapacityReservationId: aws.String(o.Placement.Reservation)},
		}
	}
	tags := tagList(o)
	for _, kind := range []types.ResourceType{types.ResourceTypeInstance, types.ResourceTypeVolume, types.ResourceTypeNetworkInterface} {
		in.TagSpecifications = append(in.TagSpecifications, types.TagSpecification{ResourceType: kind, Tags: tags})
	}
	return in, nil
}

// volumes has every volume of the image encrypted and removed with the instance.
func volumes(o compute.Order, from machineImage) []types.BlockDeviceMapping {
	var all []types.BlockDeviceMapping
	for _, d := range from.devices {
		ebs := &types.EbsBlockDevice{Encrypted: aws.Bool(true), DeleteOnTermination: aws.Bool(true)}
		if d.name == from.root && o.Provision.RootSize > 0 {
			d.size = int32(o.Provision.RootSize)
		}
		if d.size > 0 {
			ebs.VolumeSize = aws.Int32(d.size)
		}
		if d.name == from.root && o.Provision.RootRate > 0 {
			ebs.VolumeInitializationRate = aws.Int32(int32(o.Provision.RootRate))
		}
		all = append(all, types.BlockDeviceMapping{DeviceName: aws.String(d.name), Ebs: ebs})
	}
	return all
}

// tagList are the tags of an order, sorted, with a name for people to read.
func tagList(o compute.Order) []types.Tag {
	tags := o.Tags()
	tags["Name"] = fmt.Sprintf("understudy %s epoch %d", o.Service, o.Epoch)
	var list []types.Tag
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, types.Tag{Key: aws.String(key), Value: aws.String(tags[key])})
	}
	return list
}

// userData is a boot document as EC2 takes it. Cloud-init unpacks what is too
// long as it is.
func userData(boot string) (string, error) {
	if boot == "" {
		return "", nil
	}
	data := []byte(boot)
	if len(data) > maxUserData {
		var packed bytes.Buffer
		w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		if err == nil {
			_, err = w.Write(data)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			return "", fmt.Errorf("pack the boot document: %w", err)
		}
		data = packed.Bytes()
	}
	if len(data) > maxUserData {
		return "", refused("the boot document has %d bytes even when packed, and EC2 takes %d; let the machine read large settings by itself", len(data), maxUserData)
	}
	return base64.StdEncoding.EncodeToString(data), nil
}
