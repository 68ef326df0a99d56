package deploy_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/compute/computetest"
	provider "github.com/understudy-dr/understudy/activities/compute/ec2"
	"github.com/understudy-dr/understudy/tests/ec2"
	"github.com/understudy-dr/understudy/tests/ec2/ec2fixture"
	"github.com/understudy-dr/understudy/tests/ec2/iam"
)

// marks are what an operator writes into the files.
var marks = map[string]string{"ACCOUNT_ID": ec2.Account, "PROFILE": "asr-dr", "MODELS_BUCKET": "models", "HISTORY_BUCKET": "history"}

func policy(t *testing.T, name string) *iam.Policy {
	t.Helper()
	p, err := iam.Load(shipped(t, "aws/"+name), marks)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The fake EC2 asks the shipped policy before it does anything, and the provider
// passes its whole conformance suite. In the end every statement was needed, and
// every action that is allowed was used.
func TestPolicyAllowsWhatUnderstudyDoesAndNothingElse(t *testing.T) {
	p := policy(t, "understudy-policy.json")
	under := func() ec2.Options {
		o := ec2fixture.Account()
		o.Allow = p.Allows
		return o
	}
	t.Run("conformance", func(t *testing.T) {
		computetest.Run(t, func(t *testing.T) computetest.Fixture { return ec2fixture.Conformance(t, under()) })
	})
	t.Run("what is special to EC2", func(t *testing.T) { special(t, ec2fixture.New(t, under())) })
	if unused := p.Unused(); len(unused) > 0 {
		t.Errorf("nothing needs the statements %v", unused)
	}
	if allowed, done := p.Actions(), p.Done(); !slices.Equal(allowed, done) {
		t.Errorf("allowed: %v\nneeded:  %v", allowed, done)
	}
}

// special does what the conformance suite does not: prepared machines, reservations, the console.
func special(t *testing.T, s *ec2fixture.Site) {
	o := s.Order("reserved")
	o.Placement.Reservation = "cr-free"
	if err := s.Provider.Check(t.Context(), o); err != nil {
		t.Error(err)
	}
	m, err := s.Provider.Create(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Provider.Console(t.Context(), compute.Ref{ID: m.ID, Provision: o.Provision, Placement: o.Placement}); err != nil {
		t.Error(err)
	}
	prepared := s.Order("prepared")
	prepared.Placement.Instance = s.Put(ec2.Instance{Region: ec2fixture.Region, Zone: "us-west-2a", Type: "g5.xlarge", State: "stopped", Tags: ec2fixture.Tags("fun-asr", nil)})
	if err := s.Provider.Check(t.Context(), prepared); err != nil {
		t.Error(err)
	}
	if _, err := s.Provider.Create(t.Context(), prepared); err != nil {
		t.Error(err)
	}
	if err := s.Provider.Terminate(t.Context(), compute.Ref{Key: "prepared", Provision: prepared.Provision, Placement: prepared.Placement}); err != nil {
		t.Error(err)
	}
	if n := s.Ours(); n != 1 {
		t.Errorf("%d machines are left", n)
	}
}

func TestPolicyOfImageCopies(t *testing.T) {
	p := policy(t, "image-copy-policy.json")
	o := ec2fixture.Account()
	o.Regions[1].Images = nil
	o.Allow = p.Allows
	s := ec2fixture.New(t, o)
	c := provider.ImageCopy{Image: "asr-2512", From: "us-west-2", To: "us-east-1"}
	if _, err := s.Provider.CopyImage(t.Context(), c, func(provider.CopiedImage) { s.ImageState("us-east-1", "asr-2512", time.Time{}, "") }); err != nil {
		t.Fatal(err)
	}
	if unused := p.Unused(); len(unused) > 0 || !slices.Equal(p.Actions(), p.Done()) {
		t.Errorf("nothing needs the statements %v; allowed %v, needed %v", unused, p.Actions(), p.Done())
	}
}

// What a thief of the credentials would try.
func TestPolicyDenies(t *testing.T) {
	p := policy(t, "understudy-policy.json")
	const arn = "arn:aws:ec2:us-west-2:" + ec2.Account + ":"
	tags := map[string]string{
		"aws:RequestTag/managed-by": "understudy", "aws:RequestTag/service": "asr", "aws:RequestTag/epoch": "1",
		"aws:RequestTag/expires": "2026-11-24T12:00:00Z", "aws:RequestTag/understudy-key": "k",
	}
	launch := map[string]string{"ec2:MetadataHttpTokens": "required", "ec2:InstanceProfile": "arn:aws:iam::" + ec2.Account + ":instance-profile/asr-dr"}
	maps.Copy(launch, tags)
	ours := map[string]string{"aws:ResourceTag/managed-by": "understudy"}
	for _, c := range []struct {
		what, action, resource string
		keys                   map[string]string
		change                 [2]string // a key and its value; an empty value takes the key away
		allowed                bool
	}{
		{"a launch as it should be", "ec2:RunInstances", arn + "instance/*", launch, [2]string{}, true},
		{"a launch without our tag", "ec2:RunInstances", arn + "instance/*", launch, [2]string{"aws:RequestTag/managed-by", ""}, false},
		{"a launch that does not expire", "ec2:RunInstances", arn + "instance/*", launch, [2]string{"aws:RequestTag/expires", ""}, false},
		{"a launch with another role", "ec2:RunInstances", arn + "instance/*", launch, [2]string{"ec2:InstanceProfile", "arn:aws:iam::" + ec2.Account + ":instance-profile/admin"}, false},
		{"a launch without a role", "ec2:RunInstances", arn + "instance/*", launch, [2]string{"ec2:InstanceProfile", ""}, false},
		{"a launch with IMDSv1", "ec2:RunInstances", arn + "instance/*", launch, [2]string{"ec2:MetadataHttpTokens", "optional"}, false},
		{"a launch in another account", "ec2:RunInstances", "arn:aws:ec2:us-west-2:999999999999:instance/*", launch, [2]string{}, false},
		{"an encrypted volume", "ec2:RunInstances", arn + "volume/*", tags, [2]string{"ec2:Encrypted", "true"}, true},
		{"a volume in the clear", "ec2:RunInstances", arn + "volume/*", tags, [2]string{"ec2:Encrypted", "false"}, false},
		{"a public address", "ec2:RunInstances", arn + "network-interface/*", tags, [2]string{"ec2:AssociatePublicIpAddress", "true"}, false},
		{"an image of somebody else", "ec2:RunInstances", "arn:aws:ec2:us-west-2::image/ami-1", nil, [2]string{"ec2:Owner", "999999999999"}, false},
		{"a key pair", "ec2:RunInstances", arn + "key-pair/mine", launch, [2]string{}, false},
		{"our machine's end", "ec2:TerminateInstances", arn + "instance/i-1", ours, [2]string{}, true},
		{"another machine's end", "ec2:TerminateInstances", arn + "instance/i-1", ours, [2]string{"aws:ResourceTag/managed-by", "terraform"}, false},
		{"an untagged machine's end", "ec2:TerminateInstances", arn + "instance/i-1", nil, [2]string{}, false},
		{"a prepared machine's end", "ec2:TerminateInstances", arn + "instance/i-1", ours, [2]string{"aws:ResourceTag/keep", "stopped"}, false},
		{"a prepared machine's stop", "ec2:StopInstances", arn + "instance/i-1", ours, [2]string{"aws:ResourceTag/keep", "stopped"}, true},
		{"another machine's stop", "ec2:StopInstances", arn + "instance/i-1", nil, [2]string{}, false},
		{"another machine's start", "ec2:StartInstances", arn + "instance/i-1", nil, [2]string{}, false},
		{"another machine's console", "ec2:GetConsoleOutput", arn + "instance/i-1", nil, [2]string{}, false},
		{"tagging another machine as ours", "ec2:CreateTags", arn + "instance/i-1", tags, [2]string{}, false},
		{"tagging an image", "ec2:CreateTags", "arn:aws:ec2:us-west-2::image/ami-1", tags, [2]string{"ec2:CreateAction", "RunInstances"}, false},
		{"tagging what is launched as somebody else's", "ec2:CreateTags", arn + "instance/*", map[string]string{"ec2:CreateAction": "RunInstances"}, [2]string{"aws:RequestTag/managed-by", "terraform"}, false},
		{"a tag of ours on our machine", "ec2:CreateTags", arn + "instance/i-1", ours, [2]string{"aws:TagKeys", "mode"}, true},
		{"a tag of others on our machine", "ec2:CreateTags", arn + "instance/i-1", ours, [2]string{"aws:TagKeys", "cost-center"}, false},
		{"giving our machine away", "ec2:CreateTags", arn + "instance/i-1", ours, [2]string{"aws:RequestTag/managed-by", "terraform"}, false},
		{"making a prepared machine removable", "ec2:CreateTags", arn + "instance/i-1", ours, [2]string{"aws:RequestTag/keep", "no"}, false},
		{"passing another role", "iam:PassRole", "arn:aws:iam::" + ec2.Account + ":role/admin", nil, [2]string{"iam:PassedToService", "ec2.amazonaws.com"}, false},
		{"passing our role to Lambda", "iam:PassRole", "arn:aws:iam::" + ec2.Account + ":role/asr-dr", nil, [2]string{"iam:PassedToService", "lambda.amazonaws.com"}, false},
		{"copying images", "ec2:CopyImage", "arn:aws:ec2:us-west-2::image/ami-1", nil, [2]string{}, false},
		{"changing user data", "ec2:ModifyInstanceAttribute", arn + "instance/i-1", ours, [2]string{}, false},
		{"deleting tags", "ec2:DeleteTags", arn + "instance/i-1", ours, [2]string{}, false},
	} {
		keys := map[string][]string{}
		for key, value := range c.keys {
			keys[key] = []string{value}
		}
		if key, value := c.change[0], c.change[1]; value != "" {
			keys[key] = []string{value}
		} else {
			delete(keys, key)
		}
		if got := p.Allows(ec2.Access{Action: c.action, Resource: c.resource, Keys: keys}); got != c.allowed {
			t.Errorf("%s: allowed %v, want %v", c.what, got, c.allowed)
		}
	}
}

// The machines read models; one that keeps a database writes its history, and nothing else.
func TestPoliciesOfTheMachines(t *testing.T) {
	for file, want := range map[string][]string{
		"machine-policy.json":      {"s3:GetObject", "s3:ListBucket"},
		"machine-data-policy.json": {"s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject"},
	} {
		p := policy(t, file)
		if got := p.Actions(); !slices.Equal(got, want) {
			t.Errorf("%s allows %v", file, got)
		}
		for _, action := range want {
			for _, bucket := range []string{"other", "models-2", "history-2"} {
				for _, resource := range []string{"arn:aws:s3:::" + bucket, "arn:aws:s3:::" + bucket + "/key"} {
					if p.Allows(ec2.Access{Action: action, Resource: resource}) {
						t.Errorf("%s allows %s on %s", file, action, resource)
					}
				}
			}
		}
	}
	if p := policy(t, "machine-policy.json"); !p.Allows(ec2.Access{Action: "s3:GetObject", Resource: "arn:aws:s3:::models/Fun-ASR-Nano-2512/model.pt"}) {
		t.Error("a machine may not read its model")
	}
}

// The launch template that machines are prepared with sets what the provider sets.
func TestLaunchTemplate(t *testing.T) {
	text, err := os.ReadFile(shipped(t, "aws/launch-template.json"))
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		MetadataOptions     struct{ HttpTokens, HttpEndpoint string }
		NetworkInterfaces   []struct{ AssociatePublicIpAddress *bool }
		BlockDeviceMappings []struct {
			Ebs struct{ Encrypted bool }
		}
		IamInstanceProfile struct{ Name string }
		TagSpecifications  []struct {
			ResourceType string
			Tags         []struct{ Key, Value string }
		}
		ImageId, InstanceType string
	}
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	if err := decoder.Decode(&template); err != nil {
		t.Fatal(err)
	}
	if template.MetadataOptions.HttpTokens != "required" || template.IamInstanceProfile.Name != "PROFILE" || template.ImageId == "" || template.InstanceType == "" {
		t.Errorf("the template is %+v", template)
	}
	for _, n := range template.NetworkInterfaces {
		if n.AssociatePublicIpAddress == nil || *n.AssociatePublicIpAddress {
			t.Error("it gives machines a public address")
		}
	}
	for _, m := range template.BlockDeviceMappings {
		if !m.Ebs.Encrypted {
			t.Error("it has a volume in the clear")
		}
	}
	if len(template.NetworkInterfaces) == 0 || len(template.BlockDeviceMappings) == 0 || len(template.TagSpecifications) < 2 {
		t.Errorf("the template is %+v", template)
	}
	for _, spec := range template.TagSpecifications {
		tags := map[string]string{}
		for _, tag := range spec.Tags {
			tags[tag.Key] = tag.Value
		}
		if tags[compute.TagManagedBy] != compute.ManagedBy || tags[compute.TagKeep] != "stopped" || tags[compute.TagService] == "" {
			t.Errorf("it tags a %s with %v", spec.ResourceType, tags)
		}
	}
}
