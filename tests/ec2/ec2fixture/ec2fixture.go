// Package ec2fixture puts the EC2 provider beside the fake EC2: the fixture of
// the conformance suite, and the stage for tests of what is special to EC2.
package ec2fixture

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/awsclient"
	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/compute/computetest"
	provider "github.com/understudy-dr/understudy/activities/compute/ec2"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/ec2"
)

// Image is an image of the account in every region, Region the one where orders go.
const (
	Image  = "ami-0123456789abcdef0"
	Region = "us-west-2"
)

// Site is a fake EC2 with providers for it.
type Site struct {
	*ec2.Running
	// Provider is one of those that New makes.
	Provider *provider.Provider
	// AWS is the section of a site file that leads to the fake.
	AWS runbooks.AWS
	t   *testing.T
}

// New starts a fake EC2 that ends with the test.
func New(t *testing.T, o ec2.Options) *Site {
	t.Helper()
	server, err := ec2.Start("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	dir := t.TempDir()
	s := &Site{Running: server, t: t, AWS: runbooks.AWS{
		AccessKey: runbooks.Secret{File: filepath.Join(dir, "id")}, SecretKey: runbooks.Secret{File: filepath.Join(dir, "secret")},
		Endpoints: map[string]string{"ec2": server.URL},
	}}
	s.Rotate(ec2.AccessKey, ec2.SecretKey)
	s.Provider = s.Again()
	return s
}

// Rotate writes other credentials to the files that the site file names.
func (s *Site) Rotate(id, secret string) {
	s.t.Helper()
	for file, text := range map[string]string{s.AWS.AccessKey.File: id, s.AWS.SecretKey.File: secret} {
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// Again makes a provider as a new process would have it; change may set the patience of a test.
func (s *Site) Again(change ...func(*provider.Config)) *provider.Provider {
	c := provider.Config{Account: awsclient.New(s.AWS), Attempt: 5 * time.Second, Patience: 20 * time.Second, Pause: 5 * time.Millisecond, Poll: 5 * time.Millisecond, Page: 5}
	for _, f := range change {
		f(&c)
	}
	return provider.New(c)
}

// Order is one that can be carried out, in zone us-west-2a.
func (s *Site) Order(key string) compute.Order {
	places := []runbooks.Placement{Place("a"), Place("b")}
	return compute.Order{
		Key: key, Service: "fun-asr", Epoch: 7, Mode: "live", Expires: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC),
		Provision: runbooks.Provision{Kind: "ec2", Profile: "asr-dr", Placements: places}, Placement: places[0],
		Boot: "#cloud-config\n{}\n",
	}
}

// Place is a placement in a zone of Region.
func Place(letter string) runbooks.Placement {
	return runbooks.Placement{
		Region: Region, Zone: Region + letter, Type: "g5.xlarge", Image: Image, Subnet: "subnet-" + Region + letter, SecurityGroups: []string{"sg-1"}, Price: 1.25,
	}
}

// Ours counts the instances with our tag that live.
func (s *Site) Ours() int {
	n := 0
	for _, i := range s.Alive() {
		if i.Tags[compute.TagManagedBy] == compute.ManagedBy {
			n++
		}
	}
	return n
}

// Account are options for an account with things that go wrong.
func Account() ec2.Options {
	west := ec2.NewRegion(Region)
	west.Reservations = []ec2.Reservation{{ID: "cr-full", Zone: Region + "a", Type: "g5.xlarge"}, {ID: "cr-free", Zone: Region + "a", Type: "g5.xlarge", Free: 3}}
	west.Types = map[string][]string{Region + "c": {"m5.large"}}
	return ec2.Options{Regions: []ec2.Region{west, ec2.NewRegion("us-east-1")}, Boot: 20 * time.Millisecond, Off: 20 * time.Millisecond}
}

// Conformance is the fixture of computetest.
func Conformance(t *testing.T, o ec2.Options) computetest.Fixture {
	s := New(t, o)
	impossible := map[string]computetest.Impossible{}
	add := func(what string, class error, change func(*compute.Order)) {
		order := s.Order("impossible")
		change(&order)
		impossible[what] = computetest.Impossible{Order: order, Err: class}
	}
	add("an unknown image", compute.ErrRefused, func(o *compute.Order) { o.Placement.Image = "ami-00000000000000000" })
	add("an unknown name", compute.ErrRefused, func(o *compute.Order) { o.Placement.Image = "no such image" })
	add("an unknown subnet", compute.ErrRefused, func(o *compute.Order) { o.Placement.Subnet = "subnet-x" })
	add("an unknown group", compute.ErrRefused, func(o *compute.Order) { o.Placement.SecurityGroups = []string{"sg-x"} })
	add("an unknown profile", compute.ErrRefused, func(o *compute.Order) { o.Provision.Profile = "nobody" })
	add("no region", compute.ErrRefused, func(o *compute.Order) { o.Placement.Region = "" })
	add("a region that is off", compute.ErrRefused, func(o *compute.Order) { o.Placement.Region = "eu-north-1" })
	add("a type that the zone lacks", compute.ErrCapacity, func(o *compute.Order) { o.Placement = Place("c") })
	add("a full reservation", compute.ErrCapacity, func(o *compute.Order) { o.Placement.Reservation = "cr-full" })
	add("a prepared machine that is not there", compute.ErrCapacity, func(o *compute.Order) { o.Placement.Instance = "i-0123456789abcdef0" })
	add("a boot document that is too long", compute.ErrRefused, func(o *compute.Order) { o.Boot = noise(64 << 10) })
	return computetest.Fixture{
		Provider: s.Provider,
		Again:    func() compute.Provider { return s.Again() },
		Order:    s.Order,
		Other: func(o compute.Order) compute.Order {
			o.Placement.Type = "g6.xlarge"
			return o
		},
		Count:      func(*testing.T) int { return s.Ours() },
		NoID:       "i-0123456789abcdef0",
		Impossible: impossible,
		Keeps:      true,
		Exit: func(t *testing.T, m compute.Machine) {
			if err := s.Exit(m.ID); err != nil {
				t.Fatal(err)
			}
		},
		Foreign: func(*testing.T) (compute.Ref, func() bool) {
			o := s.Order("foreign")
			id := s.Put(ec2.Instance{Region: Region, Type: "g5.xlarge", Tags: map[string]string{compute.TagService: o.Service, compute.TagKey: "foreign"}})
			return compute.Ref{ID: id, Provision: o.Provision, Placement: o.Placement}, func() bool { return s.lives(id) }
		},
		LoseReply: func(*testing.T) { s.Inject(ec2.Fault{Action: "RunInstances", Times: 1, Arrives: true, Drop: true}) },
		Hold: func(*testing.T) func() {
			held := make(chan struct{})
			s.Inject(ec2.Fault{Action: "RunInstances", Times: 1, Hold: held})
			return func() { close(held) }
		},
		Held:  func() bool { return s.Held() > 0 },
		Delay: func(_ *testing.T, d time.Duration) { s.Hide(d) },
	}
}

func (s *Site) lives(id string) bool {
	for _, i := range s.Alive() {
		if i.ID == id {
			return true
		}
	}
	return false
}

// noise is a text that does not pack well.
func noise(length int) string {
	random := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, 0, length+16)
	for len(text) < length {
		text = fmt.Appendf(text, "%x", random.Uint64())
	}
	return "#cloud-config\n# " + string(text)
}

// Tags are those of a prepared machine of a service, with some more.
func Tags(service string, more map[string]string) map[string]string {
	tags := map[string]string{compute.TagManagedBy: compute.ManagedBy, compute.TagService: service}
	maps.Copy(tags, more)
	return tags
}
