package ec2_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	provider "github.com/understudy-dr/understudy/activities/compute/ec2"
	"github.com/understudy-dr/understudy/tests/ec2"
	"github.com/understudy-dr/understudy/tests/ec2/ec2fixture"
)

func copyEast(t *testing.T) (*ec2fixture.Site, provider.ImageCopy) {
	options := ec2fixture.Account()
	options.Regions[1].Images = nil
	return ec2fixture.New(t, options), provider.ImageCopy{Image: "asr-2512", From: "us-west-2", To: "us-east-1"}
}

func TestAnImageIsCopiedOnce(t *testing.T) {
	s, c := copyEast(t)
	// The first call is interrupted while the copy is made.
	ctx, cancel := context.WithCancel(t.Context())
	first, err := s.Provider.CopyImage(ctx, c, func(provider.CopiedImage) { cancel() })
	if err == nil || !strings.Contains(err.Error(), "the same command waits for it again") || first.State != "pending" {
		t.Fatalf("interrupted: %+v, %v", first, err)
	}
	var told []string
	got, err := s.Again().CopyImage(t.Context(), c, func(i provider.CopiedImage) {
		told = append(told, i.State)
		s.ImageState("us-east-1", "asr-2512", time.Time{}, "")
	})
	want := provider.CopiedImage{ID: first.ID, Name: "asr-2512", Region: "us-east-1", Source: "us-west-2/" + ec2fixture.Image, State: "available"}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if strings.Join(told, " ") != "pending available" {
		t.Errorf("told: %v", told)
	}
	if _, err := s.Provider.CopyImage(t.Context(), c, nil); err != nil {
		t.Error(err)
	}
	images := s.Images("us-east-1")
	if len(images) != 1 || len(s.Calls("CopyImage")) != 1 || images[0].Tags[compute.TagManagedBy] != compute.ManagedBy || images[0].Tags[provider.TagSource] != want.Source {
		t.Errorf("after %d copies there is %+v", len(s.Calls("CopyImage")), images)
	}
	form := s.Calls("CopyImage")[0].Form
	if form.Get("Encrypted") != "true" || len(form.Get("ClientToken")) != 64 {
		t.Errorf("sent: %v", form)
	}
	// Now the runbook's name finds it there.
	o := s.Order("k")
	o.Placement = east()
	o.Placement.Image = "asr-2512"
	if err := s.Provider.Check(t.Context(), o); err != nil {
		t.Error(err)
	}
}

func TestALostAnswerMakesNoSecondCopy(t *testing.T) {
	s, c := copyEast(t)
	s.Inject(ec2.Fault{Action: "CopyImage", Times: 1, Drop: true, Arrives: true})
	if _, err := s.Provider.CopyImage(t.Context(), c, func(provider.CopiedImage) { s.ImageState("us-east-1", "asr-2512", time.Time{}, "") }); err != nil {
		t.Fatal(err)
	}
	if len(s.Images("us-east-1")) != 1 {
		t.Error("there are two copies")
	}
}

func TestCopiesThatCannotBe(t *testing.T) {
	s, c := copyEast(t)
	none := func(what string, change func(*provider.ImageCopy)) {
		t.Helper()
		other := c
		change(&other)
		_, err := s.Provider.CopyImage(t.Context(), other, nil)
		is(t, what, err, compute.ErrRefused)
	}
	none("the same region", func(c *provider.ImageCopy) { c.To = c.From })
	none("no image", func(c *provider.ImageCopy) { c.Image = "" })
	none("an unknown image", func(c *provider.ImageCopy) { c.Image = "nothing" })
	s.AddImage("us-east-1", ec2.Image{ID: "ami-00000000000000001", Name: "taken"})
	none("a name that is taken", func(c *provider.ImageCopy) { c.Name = "taken" })
	_, err := s.Provider.CopyImage(t.Context(), c, func(provider.CopiedImage) { s.ImageState("us-east-1", "asr-2512", time.Time{}, "the snapshot is gone") })
	is(t, "a copy that fails", err, compute.ErrRefused)
	if !strings.Contains(err.Error(), "the snapshot is gone") {
		t.Errorf("without its reason: %v", err)
	}
	if n := len(s.Images("us-east-1")); n != 2 {
		t.Errorf("%d images", n)
	}
}
