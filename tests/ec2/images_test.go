package ec2_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-dr/understudy/tests/ec2"
)

func TestImages(t *testing.T) {
	a := newAccount(t, ec2.Options{})
	a.AddImage("us-west-2", ec2.Image{ID: "ami-0123456789abcdef9", Name: "asr-2512", Owner: "999999999999"})
	c := a.client("us-west-2")
	named := []types.Filter{{Name: aws.String("name"), Values: []string{"asr-2512"}}}
	for what, in := range map[string]struct {
		in   *api.DescribeImagesInput
		want int
	}{
		"all":            {&api.DescribeImagesInput{}, 2},
		"by name":        {&api.DescribeImagesInput{Filters: named}, 2},
		"by name of own": {&api.DescribeImagesInput{Filters: named, Owners: []string{"self"}}, 1},
		"of the other":   {&api.DescribeImagesInput{Owners: []string{"999999999999"}}, 1},
		"by id":          {&api.DescribeImagesInput{ImageIds: []string{image}}, 1},
	} {
		out, err := c.DescribeImages(t.Context(), in.in)
		if err != nil || len(out.Images) != in.want {
			t.Errorf("%s: %+v, %v", what, out, err)
		}
	}
	out, err := c.DescribeImages(t.Context(), &api.DescribeImagesInput{ImageIds: []string{image}})
	if err != nil {
		t.Fatal(err)
	}
	if i := out.Images[0]; i.State != types.ImageStateAvailable || *i.RootDeviceName != "/dev/xvda" || *i.BlockDeviceMappings[0].Ebs.Encrypted {
		t.Errorf("an image is %+v", i)
	}
	_, err = c.DescribeImages(t.Context(), &api.DescribeImagesInput{ImageIds: []string{"ami-00000000000000000"}})
	wants(t, "an unknown image", err, "InvalidAMIID.NotFound")
}

func TestCopyOfAnImage(t *testing.T) {
	a := newAccount(t, ec2.Options{})
	c := a.client("us-east-1")
	in := func(token, name string) *api.CopyImageInput {
		return &api.CopyImageInput{Name: aws.String(name), SourceImageId: aws.String(image), SourceRegion: aws.String("us-west-2"), ClientToken: aws.String(token), Encrypted: aws.Bool(true)}
	}
	first, err := c.CopyImage(t.Context(), in("t", "copy"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.CopyImage(t.Context(), in("t", "copy"))
	if err != nil || *again.ImageId != *first.ImageId {
		t.Errorf("the same call: %v, %v", again, err)
	}
	_, err = c.CopyImage(t.Context(), in("t", "other"))
	wants(t, "another name", err, "IdempotentParameterMismatch")
	state := func() (types.ImageState, bool) {
		out, err := c.DescribeImages(t.Context(), &api.DescribeImagesInput{ImageIds: []string{*first.ImageId}})
		if err != nil {
			t.Fatal(err)
		}
		return out.Images[0].State, *out.Images[0].BlockDeviceMappings[0].Ebs.Encrypted
	}
	if got, encrypted := state(); got != types.ImageStatePending || !encrypted {
		t.Errorf("at first it is %s, encrypted %v", got, encrypted)
	}
	a.ImageState("us-east-1", "copy", time.Time{}, "")
	if got, _ := state(); got != types.ImageStateAvailable {
		t.Errorf("then it is %s", got)
	}
	a.ImageState("us-east-1", "copy", time.Time{}, "the snapshot is gone")
	if got, _ := state(); got != types.ImageStateFailed {
		t.Errorf("at last it is %s", got)
	}
	_, err = c.CopyImage(t.Context(), &api.CopyImageInput{Name: aws.String("x"), SourceImageId: aws.String("ami-00000000000000000"), SourceRegion: aws.String("us-west-2")})
	wants(t, "an unknown image", err, "InvalidAMIID.NotFound")
}

func TestOfferingsAndReservations(t *testing.T) {
	r := ec2.NewRegion("us-west-2")
	r.Types = map[string][]string{"us-west-2b": {"m5.large"}}
	r.Reservations = []ec2.Reservation{{ID: "cr-1", Zone: "us-west-2a", Type: "g5.xlarge", Free: 1}}
	a := newAccount(t, ec2.Options{Regions: []ec2.Region{r}})
	c := a.client("us-west-2")
	offered := func(zone string) int {
		out, err := c.DescribeInstanceTypeOfferings(t.Context(), &api.DescribeInstanceTypeOfferingsInput{LocationType: types.LocationTypeAvailabilityZone, Filters: []types.Filter{
			{Name: aws.String("instance-type"), Values: []string{"g5.xlarge"}}, {Name: aws.String("location"), Values: []string{zone}}}})
		if err != nil {
			t.Fatal(err)
		}
		return len(out.InstanceTypeOfferings)
	}
	if offered("us-west-2a") != 1 || offered("us-west-2b") != 0 {
		t.Error("the wrong types are offered")
	}
	free := func() int32 {
		out, err := c.DescribeCapacityReservations(t.Context(), &api.DescribeCapacityReservationsInput{CapacityReservationIds: []string{"cr-1"}})
		if err != nil {
			t.Fatal(err)
		}
		return *out.CapacityReservations[0].AvailableInstanceCount
	}
	if free() != 1 {
		t.Error("the reservation is not free")
	}
	in := func(token string) *api.RunInstancesInput {
		return launch(token, func(in *api.RunInstancesInput) {
			in.CapacityReservationSpecification = &types.CapacityReservationSpecification{CapacityReservationTarget: &types.CapacityReservationTarget{CapacityReservationId: aws.String("cr-1")}}
		})
	}
	i := a.run(in("1"))
	if free() != 0 {
		t.Error("the instance takes no place in its reservation")
	}
	_, err := c.RunInstances(t.Context(), in("2"))
	wants(t, "a second one", err, "ReservationCapacityExceeded")
	if _, err := c.TerminateInstances(t.Context(), &api.TerminateInstancesInput{InstanceIds: []string{*i.InstanceId}}); err != nil {
		t.Fatal(err)
	}
	if free() != 1 {
		t.Error("a terminated instance keeps its place")
	}
}

func TestCredentials(t *testing.T) {
	a := newAccount(t, ec2.Options{})
	describe := func(c *api.Client) error {
		_, err := c.DescribeInstances(t.Context(), &api.DescribeInstancesInput{})
		return err
	}
	wants(t, "an unknown key", describe(a.clientOf("us-west-2", "AKIAOTHER", "x")), "AuthFailure")
	wants(t, "a wrong secret", describe(a.clientOf("us-west-2", ec2.AccessKey, "x")), "SignatureDoesNotMatch")
	wants(t, "the right ones", describe(a.client("us-west-2")), "")
	wants(t, "a region that is not enabled", describe(a.client("eu-north-1")), "OptInRequired")
	a.Expire(ec2.AccessKey)
	wants(t, "expired ones", describe(a.client("us-west-2")), "RequestExpired")
	a.SetKey("AKIANEW", "new")
	wants(t, "rotated ones", describe(a.clientOf("us-west-2", "AKIANEW", "new")), "")
}

func TestAccess(t *testing.T) {
	var asked []ec2.Access
	allowed := true
	a := newAccount(t, ec2.Options{Allow: func(x ec2.Access) bool { asked = append(asked, x); return allowed }})
	i := a.run(launch("access"))
	have := map[string]ec2.Access{}
	for _, x := range asked {
		have[x.Action+" "+x.Resource] = x
	}
	const arn = "arn:aws:ec2:us-west-2:" + ec2.Account + ":"
	for key, condition := range map[string][2]string{
		"ec2:RunInstances " + arn + "instance/*":                    {"aws:RequestTag/service", "asr"},
		"ec2:RunInstances " + arn + "volume/*":                      {"ec2:Encrypted", "false"},
		"ec2:RunInstances " + arn + "network-interface/*":           {"ec2:AssociatePublicIpAddress", "true"},
		"ec2:RunInstances " + arn + "subnet/subnet-us-west-2a":      {"aws:RequestedRegion", "us-west-2"},
		"ec2:RunInstances arn:aws:ec2:us-west-2::image/" + image:    {"ec2:Owner", ec2.Account},
		"ec2:CreateTags " + arn + "instance/*":                      {"ec2:CreateAction", "RunInstances"},
		"iam:PassRole arn:aws:iam::" + ec2.Account + ":role/asr-dr": {"iam:PassedToService", "ec2.amazonaws.com"},
	} {
		if got := have[key].Keys[condition[0]]; len(got) != 1 || got[0] != condition[1] {
			t.Errorf("%s asks with %s=%q", key, condition[0], got)
		}
	}
	c := a.client("us-west-2")
	allowed, asked = false, nil
	_, err := c.TerminateInstances(t.Context(), &api.TerminateInstancesInput{InstanceIds: []string{*i.InstanceId}})
	wants(t, "terminate", err, "UnauthorizedOperation")
	if len(asked) != 1 || asked[0].Keys["aws:ResourceTag/service"][0] != "asr" {
		t.Errorf("asked: %+v", asked)
	}
	_, err = c.RunInstances(t.Context(), launch("other", func(in *api.RunInstancesInput) { in.DryRun = aws.Bool(true) }))
	wants(t, "a dry run", err, "UnauthorizedOperation")
	if len(a.Alive()) != 1 {
		t.Error("what was not allowed was done")
	}
}
