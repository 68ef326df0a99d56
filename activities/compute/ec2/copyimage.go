package ec2

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-dr/understudy/activities/compute"
)

// TagSource is the tag of a copied image that says what it is a copy of, as
// region/image.
const TagSource = "understudy-source"

// ImageCopy is an image that is to be brought to another region.
type ImageCopy struct {
	// Image by id or by name, in region From.
	Image string
	From  string
	To    string
	// Name of the copy. Default: that of the image, so that one runbook names both.
	Name string
}

// CopiedImage is a copy.
type CopiedImage struct {
	ID     string
	Name   string
	Region string
	// Source is what it is a copy of, as region/image.
	Source string
	// State is EC2's: pending until it can be used, then available.
	State string
}

// CopyImage brings an image to another region, encrypted, and waits until it can
// be launched there, which takes minutes to hours: it is for quiet times, never
// for a recovery. It tells now and then how far it is. It is idempotent: a copy
// that is there or on its way is found, and an interrupted call goes on with the
// same one.
func (p *Provider) CopyImage(ctx context.Context, c ImageCopy, tell func(CopiedImage)) (CopiedImage, error) {
	if c.From == "" || c.To == "" || c.Image == "" || c.From == c.To {
		return CopiedImage{}, refused("an image is copied from one region to another; got image %q from %q to %q", c.Image, c.From, c.To)
	}
	source, err := p.sourceImage(ctx, c)
	if err != nil {
		return CopiedImage{}, err
	}
	made := CopiedImage{Name: cmp.Or(c.Name, aws.ToString(source.Name)), Region: c.To, Source: c.From + "/" + aws.ToString(source.ImageId)}
	if made.ID, err = p.copyOf(ctx, made); err == nil && made.ID == "" {
		made.ID, err = p.startCopy(ctx, c.From, aws.ToString(source.ImageId), made)
	}
	if err != nil {
		return CopiedImage{}, err
	}
	return p.awaitImage(ctx, made, tell)
}

// sourceImage finds what is to be copied.
func (p *Provider) sourceImage(ctx context.Context, c ImageCopy) (types.Image, error) {
	all, err := p.imagesNamed(ctx, c.From, c.Image)
	if err != nil {
		return types.Image{}, err
	}
	for _, i := range all {
		if i.State == types.ImageStateAvailable {
			return i, nil
		}
	}
	return types.Image{}, refused("no image %s is available in %s", c.Image, c.From)
}

// copyOf finds the copy that an earlier call has made; empty where there is none.
func (p *Provider) copyOf(ctx context.Context, made CopiedImage) (string, error) {
	all, err := p.imagesNamed(ctx, made.Region, made.Name)
	if err != nil {
		return "", err
	}
	for _, i := range all {
		if tagMap(i.Tags)[TagSource] == made.Source || aws.ToString(i.SourceImageRegion)+"/"+aws.ToString(i.SourceImageId) == made.Source {
			return aws.ToString(i.ImageId), nil
		}
	}
	if len(all) > 0 {
		return "", refused("%s has an image %q already, %s, which is no copy of %s; give the copy another name", made.Region, made.Name, aws.ToString(all[0].ImageId), made.Source)
	}
	return "", nil
}

func (p *Provider) startCopy(ctx context.Context, from, id string, made CopiedImage) (string, error) {
	token := sha256.Sum256([]byte(strings.Join([]string{"copy", made.Source, made.Region, made.Name}, "\n")))
	tags := []types.Tag{
		{Key: aws.String(compute.TagManagedBy), Value: aws.String(compute.ManagedBy)},
		{Key: aws.String(TagSource), Value: aws.String(made.Source)},
	}
	in := &api.CopyImageInput{
		ClientToken: aws.String(hex.EncodeToString(token[:])), SourceRegion: aws.String(from), SourceImageId: aws.String(id), Name: aws.String(made.Name),
		Description: aws.String("copy of " + made.Source + " by understudy"), Encrypted: aws.Bool(true),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeImage, Tags: tags}, {ResourceType: types.ResourceTypeSnapshot, Tags: tags}},
	}
	out, err := call(ctx, p, request[*api.CopyImageOutput]{what: "copy image " + made.Source, region: made.Region, do: func(ctx context.Context, c *api.Client) (*api.CopyImageOutput, error) {
		return c.CopyImage(ctx, in)
	}})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.ImageId), nil
}

// awaitImage looks until a copy is done or has failed.
func (p *Provider) awaitImage(ctx context.Context, made CopiedImage, tell func(CopiedImage)) (CopiedImage, error) {
	for {
		all, err := p.imagesNamed(ctx, made.Region, made.ID)
		switch {
		case err != nil && codeOf(err) != "InvalidAMIID.NotFound": // what was made a moment ago may not be seen yet
			return made, err
		case len(all) > 0:
			made.State = string(all[0].State)
		default:
			made.State = string(types.ImageStatePending)
		}
		if tell != nil {
			tell(made)
		}
		switch types.ImageState(made.State) {
		case types.ImageStateAvailable:
			return made, nil
		case types.ImageStateFailed, types.ImageStateInvalid, types.ImageStateError, types.ImageStateDeregistered:
			reason := "EC2 gives no reason"
			if r := all[0].StateReason; r != nil && aws.ToString(r.Message) != "" {
				reason = *r.Message
			}
			return made, refused("the copy %s in %s is %s: %s; deregister it and copy again under another name", made.ID, made.Region, made.State, reason)
		}
		timer := time.NewTimer(p.config.Poll)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return made, fmt.Errorf("the copy %s in %s is still %s and goes on by itself; the same command waits for it again: %w", made.ID, made.Region, made.State, ctx.Err())
		}
	}
}
