package ec2_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	provider "github.com/understudy-dr/understudy/activities/compute/ec2"
	"github.com/understudy-dr/understudy/tests/ec2"
	"github.com/understudy-dr/understudy/tests/ec2/ec2fixture"
)

// ref refers to the machine of an order by its key.
func ref(o compute.Order) compute.Ref {
	return compute.Ref{Key: o.Key, Provision: o.Provision, Placement: o.Placement}
}

func create(t *testing.T, p compute.Provider, o compute.Order) compute.Machine {
	t.Helper()
	m, err := p.Create(t.Context(), o)
	if err != nil {
		t.Fatalf("create with key %s: %v", o.Key, err)
	}
	return m
}

func TestWhatIsLaunched(t *testing.T) {
	options := ec2fixture.Account()
	options.Regions[0].Images[0].Volumes = []ec2.Volume{{Device: "/dev/xvda", Snapshot: "snap-1", Size: 8}, {Device: "/dev/sdf", Snapshot: "snap-2", Size: 100, Encrypted: true}}
	s := ec2fixture.New(t, options)
	o := s.Order("k")
	o.Provision.RootSize, o.Provision.RootRate = 40, 300
	m := create(t, s.Provider, o)
	if m.Where != "us-west-2a g5.xlarge" || m.Price != 1.25 || m.State != compute.Pending {
		t.Errorf("the machine is %+v", m)
	}
	i := s.Alive()[0]
	if i.Tokens != "required" || i.PublicAddress || i.Profile != "asr-dr" || i.Groups[0] != "sg-1" || i.UserData != o.Boot || i.Token != "k" {
		t.Errorf("launched: %+v", i)
	}
	if len(i.Volumes) != 2 || !i.Volumes[0].Encrypted || !i.Volumes[1].Encrypted || i.Volumes[0].Size != 40 || i.Volumes[1].Size != 100 {
		t.Errorf("its volumes: %+v", i.Volumes)
	}
	for _, tags := range []map[string]string{i.Tags, i.VolumeTags, i.InterfaceTags} {
		for name, want := range o.Tags() {
			if tags[name] != want {
				t.Errorf("tag %s is %q in %v, want %q", name, tags[name], tags, want)
			}
		}
		if tags["Name"] != "understudy fun-asr epoch 7" {
			t.Errorf("the name is %q", tags["Name"])
		}
	}
	if form := s.Calls("RunInstances")[0].Form; form.Get("BlockDeviceMapping.1.Ebs.VolumeInitializationRate") != "300" || form.Get("MetadataOptions.HttpPutResponseHopLimit") != "2" {
		t.Errorf("sent: %v", form)
	}
}

func TestALongBootDocumentIsPacked(t *testing.T) {
	s := ec2fixture.New(t, ec2fixture.Account())
	o := s.Order("long")
	o.Boot = "#cloud-config\n" + strings.Repeat("# a hot word list, say\n", 2000)
	if err := s.Provider.Check(t.Context(), o); err != nil {
		t.Error(err)
	}
	create(t, s.Provider, o)
	r, err := gzip.NewReader(bytes.NewReader([]byte(s.Alive()[0].UserData)))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil || string(text) != o.Boot {
		t.Errorf("unpacked, it has %d bytes of %d, %v", len(text), len(o.Boot), err)
	}
}

func TestImagesByName(t *testing.T) {
	options := ec2fixture.Account()
	day := func(n int) time.Time { return time.Date(2026, 5, n, 0, 0, 0, 0, time.UTC) }
	options.Regions[0].Images = []ec2.Image{
		{ID: "ami-00000000000000001", Name: "asr", Created: day(1)},
		{ID: "ami-00000000000000002", Name: "asr", Created: day(3)},
		{ID: "ami-00000000000000003", Name: "asr", Created: day(2)},
		{ID: "ami-00000000000000004", Name: "asr", Created: day(4), Failed: "no"},
		{ID: "ami-00000000000000005", Name: "asr", Created: day(5), Owner: "666666666666"},
		{ID: "ami-00000000000000006", Name: "asr2", Created: day(6)},
	}
	s := ec2fixture.New(t, options)
	for name, want := range map[string]string{"asr": "ami-00000000000000002", "asr2": "ami-00000000000000006", "ami-00000000000000005": "ami-00000000000000005"} {
		o := s.Order("by-" + name)
		o.Placement.Image = name
		m := create(t, s.Provider, o)
		for _, i := range s.Alive() {
			if i.ID == m.ID && i.Image != want {
				t.Errorf("image %s is %s, want %s", name, i.Image, want)
			}
		}
	}
	for _, name := range []string{"as?", "*", "ami-00000000000000004"} {
		o := s.Order("no")
		o.Placement.Image = name
		_, err := s.Provider.Create(t.Context(), o)
		is(t, name, err, compute.ErrRefused)
	}
}

// Between two calls for one order the settings in its boot document can change,
// and so can the image that a name means. It is the same order.
func TestTheSameOrderWithOtherDetails(t *testing.T) {
	t.Parallel()
	for _, hidden := range []time.Duration{0, 200 * time.Millisecond} {
		s := ec2fixture.New(t, ec2fixture.Account())
		s.Hide(hidden)
		s.Inject(ec2.Fault{Action: "RunInstances", Times: 1, Hang: true, Arrives: true})
		o := s.Order("k")
		o.Placement.Image = "asr-2512"
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for ; s.Ours() == 0 && ctx.Err() == nil; time.Sleep(time.Millisecond) {
			}
			cancel()
		}()
		if _, err := s.Provider.Create(ctx, o); err == nil {
			t.Fatal("the answer was not lost")
		}
		s.AddImage(ec2fixture.Region, ec2.Image{ID: "ami-0000000000000000f", Name: "asr-2512", Created: time.Now()})
		o.Boot += "# a new hot word\n"
		m := create(t, s.Again(), o)
		if live := s.Alive(); len(live) != 1 || live[0].ID != m.ID {
			t.Errorf("hidden for %s: the key has %s, and these live: %+v", hidden, m.ID, live)
		}
		other := o
		other.Service = "another"
		_, err := s.Again().Create(t.Context(), other)
		is(t, "another service", err, compute.ErrUsed)
	}
}

// While what a token has made cannot be seen, it is not known to be used up.
func TestAMismatchOfWhatCannotBeSeen(t *testing.T) {
	t.Parallel()
	s := ec2fixture.New(t, ec2fixture.Account())
	s.Hide(time.Hour)
	o := s.Order("k")
	create(t, s.Provider, o)
	o.Boot += "# another\n"
	p := s.Again(func(c *provider.Config) { c.Patience = time.Second })
	_, err := p.Create(t.Context(), o)
	is(t, "the same key with another document", err, nil)
}

func TestAKeyBelongsToOnePlacement(t *testing.T) {
	s := ec2fixture.New(t, ec2fixture.Account())
	o := s.Order("k")
	create(t, s.Provider, o)
	for what, change := range map[string]func(*compute.Order){
		"another zone":    func(o *compute.Order) { o.Placement = o.Provision.Placements[1] },
		"another image":   func(o *compute.Order) { o.Placement.Image = "ami-00000000000000001" },
		"another epoch":   func(o *compute.Order) { o.Epoch++ },
		"another service": func(o *compute.Order) { o.Service = "tts" },
	} {
		other := o
		change(&other)
		_, err := s.Provider.Create(t.Context(), other)
		is(t, what, err, compute.ErrUsed)
	}
	if s.Ours() != 1 {
		t.Errorf("%d instances live", s.Ours())
	}
}

// The story that this provider is for: no room in zone a, a launch in zone b
// whose answer is lost and which cannot be seen, a quota, expired credentials.
// In the end one instance lives, and each place was left only after an answer.
func TestFromPlaceToPlace(t *testing.T) {
	t.Parallel()
	s := ec2fixture.New(t, ec2fixture.Account())
	s.Hide(150 * time.Millisecond)
	s.Inject(ec2.Fault{Action: "RunInstances", Zone: "us-west-2a", Code: "InsufficientInstanceCapacity"})
	s.Inject(ec2.Fault{Action: "RunInstances", Type: "g6.xlarge", Code: "VcpuLimitExceeded"})
	s.Inject(ec2.Fault{Action: "RunInstances", Zone: "us-west-2b", Times: 1, Drop: true, Arrives: true})
	quota := ec2fixture.Place("b")
	quota.Type = "g6.xlarge"
	s.Expire(ec2.AccessKey)
	for n, step := range []struct {
		change func(*compute.Order)
		want   error
	}{
		{func(*compute.Order) {}, compute.ErrCredentials},
		{func(*compute.Order) { s.SetKey("AKIANEW", "new"); s.Rotate("AKIANEW", "new") }, compute.ErrCapacity},
		{func(o *compute.Order) { o.Key, o.Placement = "place-2", quota }, compute.ErrQuota},
	} {
		o := s.Order("place-1")
		step.change(&o)
		_, err := s.Provider.Create(t.Context(), o)
		if !errors.Is(err, step.want) {
			t.Fatalf("step %d: %v, want %v", n, err, step.want)
		}
	}
	o := s.Order("place-3")
	o.Placement = ec2fixture.Place("b")
	m := create(t, s.Provider, o)
	if live := s.Alive(); len(live) != 1 || live[0].ID != m.ID || live[0].Zone != "us-west-2b" {
		t.Errorf("in the end these live: %+v", live)
	}
	var told []string
	for _, c := range s.Calls("RunInstances") {
		told = append(told, c.Form.Get("ClientToken")+" "+c.Code)
	}
	want := "place-1 InsufficientInstanceCapacity, place-2 VcpuLimitExceeded, place-3 dropped, place-3 "
	if strings.Join(told, ", ") != want {
		t.Errorf("the launches were %q, want %q", strings.Join(told, ", "), want)
	}
}

func TestReservations(t *testing.T) {
	s := ec2fixture.New(t, ec2fixture.Account())
	o := s.Order("k")
	o.Placement.Reservation = "cr-free"
	if err := s.Provider.Check(t.Context(), o); err != nil {
		t.Error(err)
	}
	create(t, s.Provider, o)
	if got := s.Alive()[0].Reservation; got != "cr-free" {
		t.Errorf("it was launched into %q", got)
	}
	o.Placement.Type = "g6.xlarge"
	is(t, "a reservation of another type", s.Provider.Check(t.Context(), o), compute.ErrRefused)
	o = s.Order("other")
	o.Placement.Reservation = "cr-none"
	is(t, "a reservation that is not there", s.Provider.Check(t.Context(), o), compute.ErrCapacity)
	_, err := s.Provider.Create(t.Context(), o)
	is(t, "a launch into it", err, compute.ErrCapacity)
}

func TestWhatCheckAsks(t *testing.T) {
	allowed := true
	options := ec2fixture.Account()
	options.Allow = func(a ec2.Access) bool { return allowed || a.Action != "iam:PassRole" }
	s := ec2fixture.New(t, options)
	if err := s.Provider.Check(t.Context(), s.Order("k")); err != nil {
		t.Fatal(err)
	}
	allowed = false
	is(t, "a role that may not be passed", s.Provider.Check(t.Context(), s.Order("k")), compute.ErrRefused)
	for _, c := range s.Calls("RunInstances") {
		if c.Form.Get("DryRun") != "true" || c.Form.Get("ClientToken") == "k" {
			t.Errorf("a check has sent %v", c.Form)
		}
	}
	if len(s.Instances(ec2fixture.Region)) != 0 {
		t.Error("a check has launched something")
	}
}
