package ec2

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// imageLives is how long a look at an image is good for. Its volumes never
// change; that its name means another image, or that it is gone, is found out
// after that time.
const imageLives = 5 * time.Minute

var imageID = regexp.MustCompile(`^ami-[0-9a-f]+$`)

// machineImage is what a launch must know of an image.
type machineImage struct {
	id, root string
	// devices are its EBS volumes.
	devices []device
	at      time.Time
}

// device is an EBS volume of an image, with its size in GiB.
type device struct {
	name string
	size int32
}

// image finds an image by id or name, one that can be launched. A name is
// looked for among the account's own images alone: anybody can publish one under
// a name that is known. Of several the newest counts.
func (p *Provider) image(ctx context.Context, region, name string) (machineImage, error) {
	key := region + " " + name
	p.mu.Lock()
	known, ok := p.images[key]
	p.mu.Unlock()
	if ok && time.Since(known.at) < imageLives {
		return known, nil
	}
	all, err := p.imagesNamed(ctx, region, name)
	if err != nil {
		return machineImage{}, err
	}
	all = slices.DeleteFunc(all, func(i types.Image) bool { return i.State != types.ImageStateAvailable })
	if len(all) == 0 {
		return machineImage{}, refused("no image %s is available in %s; understudy image copy brings one there", name, region)
	}
	chosen := all[0]
	if chosen.RootDeviceType != types.DeviceTypeEbs {
		return machineImage{}, refused("the image %s in %s has no EBS root volume, which cannot be encrypted or stopped", name, region)
	}
	made := machineImage{id: aws.ToString(chosen.ImageId), root: aws.ToString(chosen.RootDeviceName), at: time.Now()}
	for _, mapping := range chosen.BlockDeviceMappings {
		if mapping.Ebs != nil {
			made.devices = append(made.devices, device{aws.ToString(mapping.DeviceName), aws.ToInt32(mapping.Ebs.VolumeSize)})
		}
	}
	p.mu.Lock()
	p.images[key] = made
	p.mu.Unlock()
	return made, nil
}

// imagesNamed returns the images of an id or name, the newest first.
func (p *Provider) imagesNamed(ctx context.Context, region, name string) ([]types.Image, error) {
	in := &api.DescribeImagesInput{ImageIds: []string{name}}
	if !imageID.MatchString(name) {
		in = &api.DescribeImagesInput{Owners: []string{"self"}, Filters: []types.Filter{filter("name", escaped.Replace(name))}}
	}
	out, err := call(ctx, p, request[*api.DescribeImagesOutput]{what: "look for image " + name, region: region, do: func(ctx context.Context, c *api.Client) (*api.DescribeImagesOutput, error) {
		return c.DescribeImages(ctx, in)
	}})
	if err != nil {
		return nil, err
	}
	// Dates in this form sort as text.
	slices.SortStableFunc(out.Images, func(a, b types.Image) int {
		return strings.Compare(aws.ToString(b.CreationDate), aws.ToString(a.CreationDate))
	})
	return out.Images, nil
}
