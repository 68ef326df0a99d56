package ec2_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-dr/understudy/tests/ec2"
)

func asStatus(err error, answer *interface{ HTTPStatusCode() int }) bool {
	return errors.As(err, answer)
}

func TestOneTokenOneInstance(t *testing.T) {
	a := newAccount(t, ec2.Options{})
	first := a.run(launch("token"))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			out, err := a.client("us-west-2").RunInstances(t.Context(), launch("token"))
			if err != nil || *out.Instances[0].InstanceId != *first.InstanceId {
				t.Errorf("the same call: %+v, %v", out, err)
			}
		})
	}
	all.Wait()
	if len(a.Alive()) != 1 {
		t.Errorf("%d instances live", len(a.Alive()))
	}
	if other := a.run(launch("Token")); *other.InstanceId == *first.InstanceId {
		t.Error("tokens are not case-sensitive")
	}
}

func TestOtherParametersMismatch(t *testing.T) {
	a := newAccount(t, ec2.Options{})
	a.run(launch("token"))
	for what, change := range map[string]func(*api.RunInstancesInput){
		"type":      func(in *api.RunInstancesInput) { in.InstanceType = "m5.large" },
		"user data": func(in *api.RunInstancesInput) { in.UserData = aws.String("eA==") },
		"tags":      func(in *api.RunInstancesInput) { in.TagSpecifications[0].Tags[0].Value = aws.String("x") },
		"groups":    func(in *api.RunInstancesInput) { in.SecurityGroupIds = []string{"sg-1"} },
	} {
		_, err := a.client("us-west-2").RunInstances(t.Context(), launch("token", change))
		wants(t, "another "+what, err, "IdempotentParameterMismatch")
	}
	if len(a.Alive()) != 1 {
		t.Errorf("%d instances live", len(a.Alive()))
	}
}

// A token is good for one zone where the request names one, by a zone or a
// subnet; else for the region; never for more than one region.
func TestScopeOfAToken(t *testing.T) {
	a := newAccount(t, ec2.Options{})
	subnet := func(letter string) func(*api.RunInstancesInput) {
		return func(in *api.RunInstancesInput) { in.SubnetId = aws.String("subnet-us-west-2" + letter) }
	}
	zone := func(letter string) func(*api.RunInstancesInput) {
		return func(in *api.RunInstancesInput) {
			in.SubnetId, in.Placement = nil, &types.Placement{AvailabilityZone: aws.String("us-west-2" + letter)}
		}
	}
	anywhere := func(in *api.RunInstancesInput) { in.SubnetId = nil }
	one, other := a.run(launch("z", zone("a"))), a.run(launch("z", zone("b")))
	if *one.InstanceId == *other.InstanceId {
		t.Error("one token has the same instance in two zones")
	}
	if again := a.run(launch("z", zone("b"))); *again.InstanceId != *other.InstanceId {
		t.Error("within a zone the token is not honoured")
	}
	if s1, s2 := a.run(launch("s", subnet("a"))), a.run(launch("s", subnet("a"))); *s1.InstanceId != *s2.InstanceId {
		t.Error("within a subnet the token is not honoured")
	}
	if r1, r2 := a.run(launch("r", anywhere)), a.run(launch("r", anywhere)); *r1.InstanceId != *r2.InstanceId {
		t.Error("within the region the token is not honoured")
	}
	before := len(a.Alive())
	if _, err := a.client("us-east-1").RunInstances(t.Context(), launch("r", anywhere)); err != nil {
		t.Fatal(err)
	}
	if len(a.Alive()) != before+1 || len(a.Instances("us-east-1")) != 1 {
		t.Error("the token of another region has launched nothing here")
	}
}

func TestTokenOfATerminatedInstance(t *testing.T) {
	for _, replay := range []bool{false, true} {
		a := newAccount(t, ec2.Options{Replay: replay})
		c := a.client("us-west-2")
		i := a.run(launch("gone"))
		if _, err := c.TerminateInstances(t.Context(), &api.TerminateInstancesInput{InstanceIds: []string{*i.InstanceId}}); err != nil {
			t.Fatal(err)
		}
		out, err := c.RunInstances(t.Context(), launch("gone"))
		if !replay {
			wants(t, "replay", err, "IdempotentInstanceTerminated")
		} else if err != nil || *out.Instances[0].InstanceId != *i.InstanceId || out.Instances[0].State.Name == types.InstanceStateNameRunning {
			t.Errorf("replay: %+v, %v", out, err)
		}
		if len(a.Alive()) != 0 {
			t.Error("the replay has launched an instance")
		}
	}
}

func TestRefusedLaunches(t *testing.T) {
	a := newAccount(t, ec2.Options{Regions: []ec2.Region{func() ec2.Region {
		r := ec2.NewRegion("us-west-2")
		r.Reservations = []ec2.Reservation{{ID: "cr-full", Zone: "us-west-2a", Type: "g5.xlarge"}, {ID: "cr-other", Zone: "us-west-2b", Type: "g5.xlarge", Free: 1}}
		r.Images = append(r.Images, ec2.Image{ID: "ami-0123456789abcdef1", Name: "broken", Failed: "no"})
		return r
	}()}})
	reserve := func(id string) func(*api.RunInstancesInput) {
		return func(in *api.RunInstancesInput) {
			in.CapacityReservationSpecification = &types.CapacityReservationSpecification{CapacityReservationTarget: &types.CapacityReservationTarget{CapacityReservationId: aws.String(id)}}
		}
	}
	for _, c := range []struct {
		what, want string
		change     func(*api.RunInstancesInput)
	}{
		{"a long token", "InvalidParameterValue", func(in *api.RunInstancesInput) { in.ClientToken = aws.String(strings.Repeat("t", 65)) }},
		{"an odd token", "InvalidParameterValue", func(in *api.RunInstancesInput) { in.ClientToken = aws.String("tö") }},
		{"no image id", "InvalidAMIID.Malformed", func(in *api.RunInstancesInput) { in.ImageId = aws.String("asr-2512") }},
		{"an unknown image", "InvalidAMIID.NotFound", func(in *api.RunInstancesInput) { in.ImageId = aws.String("ami-00000000000000000") }},
		{"a broken image", "InvalidAMIID.Unavailable", func(in *api.RunInstancesInput) { in.ImageId = aws.String("ami-0123456789abcdef1") }},
		{"an unknown subnet", "InvalidSubnetID.NotFound", func(in *api.RunInstancesInput) { in.SubnetId = aws.String("subnet-x") }},
		{"an unknown group", "InvalidGroup.NotFound", func(in *api.RunInstancesInput) { in.SecurityGroupIds = []string{"sg-x"} }},
		{"an unknown profile", "InvalidParameterValue", func(in *api.RunInstancesInput) { in.IamInstanceProfile.Name = aws.String("x") }},
		{"a zone that is not the subnet's", "InvalidParameterValue", func(in *api.RunInstancesInput) {
			in.Placement = &types.Placement{AvailabilityZone: aws.String("us-west-2b")}
		}},
		{"groups beside interfaces", "InvalidParameterCombination", func(in *api.RunInstancesInput) {
			in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0)}}
		}},
		{"too much user data", "InvalidParameterValue", func(in *api.RunInstancesInput) { in.UserData = aws.String(strings.Repeat("AAAA", 6000)) }},
		{"user data that is not base64", "InvalidParameterValue", func(in *api.RunInstancesInput) { in.UserData = aws.String("#cloud") }},
		{"a type that the zone does not have", "Unsupported", func(in *api.RunInstancesInput) { in.InstanceType = "p5.48xlarge" }},
		{"a full reservation", "ReservationCapacityExceeded", reserve("cr-full")},
		{"a reservation elsewhere", "InvalidParameterValue", reserve("cr-other")},
		{"an unknown reservation", "InvalidCapacityReservationId.NotFound", reserve("cr-x")},
		{"a small volume", "InvalidBlockDeviceMapping", func(in *api.RunInstancesInput) {
			in.BlockDeviceMappings = []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{VolumeSize: aws.Int32(1)}}}
		}},
		{"a tag of the wrong kind", "InvalidParameterValue", func(in *api.RunInstancesInput) { in.TagSpecifications[0].ResourceType = types.ResourceTypeVpc }},
		{"a dry run", "DryRunOperation", func(in *api.RunInstancesInput) { in.DryRun = aws.Bool(true) }},
		{"what the fake does not play", "UnknownParameter", func(in *api.RunInstancesInput) { in.KeyName = aws.String("mine") }},
	} {
		_, err := a.client("us-west-2").RunInstances(t.Context(), launch("refused "+c.want, c.change))
		wants(t, c.what, err, c.want)
	}
	if len(a.Instances("us-west-2")) != 0 {
		t.Error("a refused launch has made an instance")
	}
}
