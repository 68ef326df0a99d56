//go:build vm

package guest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/compute/boot"
	"github.com/understudy-dr/understudy/activities/compute/images"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/ec2"
	"github.com/understudy-dr/understudy/tests/ec2/ec2fixture"
	"github.com/understudy-dr/understudy/tests/ec2/guest"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/site/audio"
)

const (
	port = 7860
	// patience is how long a guest may take under emulation, on a busy computer.
	patience = 4 * time.Minute
	canary   = "one two three four five six seven eight nine"
)

var regions = []string{"us-west-2", "us-east-1"}

// cloud is an account whose instances are guests, with a store in each region.
type cloud struct {
	*ec2fixture.Site
	stores map[string]*harness.MinIOServer
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	if err := harness.FindVM(); err != nil {
		t.Skip("missing:", err)
	}
	dir, image, err := harness.BuildSpeechImage(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{stores: map[string]*harness.MinIOServer{}}
	for _, region := range regions {
		store, err := harness.MinIO(t.Context(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Kill)
		if err := store.Stock(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.stores[region] = store
	}
	o := ec2.Options{Boot: 200 * time.Millisecond, Off: 200 * time.Millisecond}
	for _, region := range regions {
		o.Regions = append(o.Regions, ec2.NewRegion(region))
	}
	// The role may read both stores; each believes only what it has given out itself.
	launch := map[string]func(ec2.Boot) (ec2.Machine, error){}
	for _, region := range regions {
		launch[region] = guest.Launch(guest.Config{
			Dir: t.TempDir(), Images: dir, AMIs: map[string]images.Ref{ec2fixture.Image: image.Ref()}, Ports: []int{port},
			Role: func(string) (guest.Credentials, error) {
				r, err := c.stores[region].AssumeRole(context.Background(), time.Hour)
				return guest.Credentials{AccessKey: r.AccessKey, SecretKey: r.SecretKey, Token: r.Token, Expires: r.Expires}, err
			},
		})
	}
	o.Launch = func(b ec2.Boot) (ec2.Machine, error) { return launch[b.Region](b) }
	c.Site = ec2fixture.New(t, o)
	return c
}

// order is one for a machine that copies its model with its role's credentials.
func (c *cloud) order(t *testing.T, region, key, model string) compute.Order {
	t.Helper()
	place := runbooks.Placement{Region: region, Zone: region + "a", Type: "g5.xlarge", Image: ec2fixture.Image, Subnet: "subnet-" + region + "a", SecurityGroups: []string{"sg-1"}}
	o := compute.Order{
		Key: key, Service: "asr", Epoch: 7, Mode: "live", Expires: time.Now().Add(time.Hour), Placement: place,
		Provision: runbooks.Provision{
			Kind: "ec2", Profile: "asr-dr", Placements: []runbooks.Placement{place},
			Command: []string{harness.GuestProgram, "asr", "--model", "/models/asr", "--listen", fmt.Sprintf("0.0.0.0:%d", port)},
		},
	}
	endpoint := strings.Replace(c.stores[region].Endpoint, "127.0.0.1", guest.Host, 1)
	document, err := boot.Render(boot.Machine{Order: o, Volumes: []boot.Volume{{
		Volume: runbooks.Volume{Source: "s3://" + harness.ModelBucket + "/" + model, Mount: "/models/asr", Mode: "copy"},
		Store:  boot.Store{Endpoint: endpoint, Region: "us-east-1", PathStyle: true, Login: boot.Role},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	o.Boot = document
	return o
}

func ref(o compute.Order) compute.Ref {
	return compute.Ref{Key: o.Key, Provision: o.Provision, Placement: o.Placement}
}

// awaits looks at a machine until it is what a test waits for; what never comes
// ends the test with the machine's console.
func (c *cloud) awaits(t *testing.T, o compute.Order, what string, is func(compute.Machine) bool) compute.Machine {
	t.Helper()
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		m, err := c.Provider.Describe(t.Context(), ref(o))
		if err == nil && is(m) {
			return m
		}
		if time.Since(began) > patience || err == nil && m.State == compute.Gone {
			console, _ := c.Provider.Console(t.Context(), ref(o))
			t.Fatalf("no %s: %+v, %v\n%s", what, m, err, console)
		}
	}
}

func healthy(t *testing.T) func(compute.Machine) bool {
	return func(m compute.Machine) bool {
		return m.State == compute.Running && harness.Responding(fmt.Sprintf("http://%s:%d/health", m.Address, port))(t.Context()) == nil
	}
}

func TestInstancesAreRealMachinesInTwoRegions(t *testing.T) {
	c := newCloud(t)
	for _, region := range regions {
		o := c.order(t, region, "guest-"+region, "asr-"+harness.ModelVersion)
		if err := c.Provider.Check(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := c.Provider.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Provider.Create(t.Context(), o); err != nil {
			t.Fatalf("the same order again: %v", err)
		}
		m := c.awaits(t, o, "health", healthy(t))
		fmt.Fprintf(os.Stderr, "boot times: an instance of %s, user data by IMDSv2, model copied from S3 with its role: /health after %.1f s\n", region, time.Since(began).Seconds())
		if m.Tags[compute.TagService] != "asr" || !strings.HasPrefix(m.Where, region) {
			t.Errorf("the machine is %+v", m)
		}
		if got := transcribed(t, m); !strings.Contains(got, canary) {
			t.Errorf("heard %s, want %s", got, canary)
		}
		console, err := c.Provider.Console(t.Context(), ref(o))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []compute.BootStep{{Name: "mount", State: "done", Detail: "/models/asr"}, {Name: "verify", State: "done", Detail: "/models/asr"}} {
			if !slices.Contains(compute.BootSteps(console), want) {
				t.Errorf("the console does not say %s:\n%s", want, console)
			}
		}
	}
	if n := c.Ours(); n != len(regions) {
		t.Errorf("%d instances for %d orders", n, len(regions))
	}

	// Stopped and started, it has its model already.
	o := c.order(t, regions[0], "guest-"+regions[0], "asr-"+harness.ModelVersion)
	if err := c.Provider.Stop(t.Context(), ref(o)); err != nil {
		t.Fatal(err)
	}
	c.awaits(t, o, "stop", func(m compute.Machine) bool { return m.State == compute.Stopped })
	began := time.Now()
	if _, err := c.Provider.Start(t.Context(), ref(o)); err != nil {
		t.Fatal(err)
	}
	c.awaits(t, o, "health after a stop", healthy(t))
	fmt.Fprintf(os.Stderr, "boot times: an instance, stopped and started: /health after %.1f s\n", time.Since(began).Seconds())

	for _, region := range regions {
		o := c.order(t, region, "guest-"+region, "")
		if err := c.Provider.Terminate(t.Context(), ref(o)); err != nil {
			t.Error(err)
		}
		c.isGone(t, o)
	}
	if n := len(c.Alive()); n != 0 {
		t.Errorf("%d instances are left", n)
	}
}

// isGone waits until a machine is gone.
func (c *cloud) isGone(t *testing.T, o compute.Order) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		m, err := c.Provider.Describe(t.Context(), ref(o))
		if err == nil && m.State == compute.Gone {
			return
		}
		if time.Since(began) > patience {
			t.Fatalf("it is %+v, %v", m, err)
		}
	}
}

// A machine that cannot serve switches itself off; its console says why.
func TestAnInstanceWithoutItsModelEndsWithTheReason(t *testing.T) {
	c := newCloud(t)
	o := c.order(t, regions[1], "guest-no-model", "nowhere")
	if _, err := c.Provider.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	m := c.awaits(t, o, "end", func(m compute.Machine) bool { return m.State == compute.Stopped })
	if !strings.Contains(m.Detail, "Instance initiated shutdown") {
		t.Errorf("the reason is %q", m.Detail)
	}
	console, err := c.Provider.Console(t.Context(), ref(o))
	if err != nil {
		t.Fatal(err)
	}
	if step, failed := compute.FailedStep(compute.BootSteps(console)); !failed || !strings.HasPrefix(step.Detail, "/models/asr") {
		t.Errorf("the console says %s:\n%s", step, console)
	}
}

// transcribed is what the service in a machine hears in the canary's recording.
func transcribed(t *testing.T, m compute.Machine) string {
	t.Helper()
	clip, err := audio.Say(t.Context(), canary)
	if err != nil {
		t.Fatal(err)
	}
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "canary.wav")
	if err == nil {
		_, err = part.Write(clip.WAV())
	}
	if err == nil {
		err = form.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(fmt.Sprintf("http://%s:%d/v1/audio/transcriptions", m.Address, port), form.FormDataContentType(), &body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %v: %s", resp.Status, err, answer)
	}
	return string(answer)
}
