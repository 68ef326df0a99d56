//go:build moto

package ec2_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-dr/understudy/activities/awsclient"
	"github.com/understudy-dr/understudy/activities/compute"
	provider "github.com/understudy-dr/understudy/activities/compute/ec2"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
)

// Moto is a second opinion on requests and answers. Three things it leaves out,
// and so does this test: it does not honour client tokens, so nothing launches
// twice with one key; it cannot search for them (see motoDoor); and it forgets
// the tags of a copied image, by which a second copy is known.
func TestMoto(t *testing.T) {
	program := os.Getenv("MOTO_SERVER")
	if program == "" {
		t.Fatal("MOTO_SERVER names no program; run make test-moto")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	port := harness.FreePort()
	address := "http://" + harness.Address(port)
	moto, err := harness.Start(ctx, harness.Spec{
		Name: "moto", Path: program, Args: []string{"-H", "127.0.0.1", "-p", strconv.Itoa(port)}, Dir: t.TempDir(), Ready: harness.Responding(address + "/moto-api/data.json"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(moto.Kill)
	t.Setenv("AWS_ACCESS_KEY_ID", "testing")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "testing")
	account := awsclient.New(runbooks.AWS{Endpoints: map[string]string{"ec2": motoDoor(t, address)}})
	p := provider.New(provider.Config{Account: account, Poll: 50 * time.Millisecond, Patience: 20 * time.Second})
	order := motoOrder(t, account)

	t.Run("check", func(t *testing.T) {
		if err := p.Check(ctx, order("check")); err != nil {
			t.Error(err)
		}
		wrong := order("check")
		wrong.Placement.Image = "ami-00000000000000000"
		is(t, "an unknown image", p.Check(ctx, wrong), compute.ErrRefused)
	})
	t.Run("life", func(t *testing.T) {
		o := order("life")
		m, err := p.Create(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		for tag, want := range o.Tags() {
			if m.Tags[tag] != want {
				t.Errorf("tag %s is %q, want %q", tag, m.Tags[tag], want)
			}
		}
		if again, err := p.Create(ctx, o); err != nil || again.ID != m.ID {
			t.Errorf("the key is not found again: %+v, %v", again, err)
		}
		m = motoState(t, p, o, compute.Running)
		if m.Address == "" || m.Where != "us-west-2a g5.xlarge" {
			t.Errorf("running: %+v", m)
		}
		if all, err := p.List(ctx, o.Provision, o.Service); err != nil || len(all) != 1 || all[0].ID != m.ID {
			t.Errorf("listed: %+v, %v", all, err)
		}
		if err := p.Stop(ctx, ref(o)); err != nil {
			t.Fatal(err)
		}
		motoState(t, p, o, compute.Stopped)
		if _, err := p.Start(ctx, ref(o)); err != nil {
			t.Fatal(err)
		}
		motoState(t, p, o, compute.Running)
		if _, err := p.Console(ctx, ref(o)); err != nil {
			t.Error(err)
		}
		if err := p.Terminate(ctx, ref(o)); err != nil {
			t.Fatal(err)
		}
		motoState(t, p, o, compute.Gone)
		_, err = p.Create(ctx, o)
		is(t, "the key of a removed machine", err, compute.ErrUsed)
	})
	t.Run("refusals", func(t *testing.T) {
		_, err := p.Describe(ctx, compute.Ref{ID: "i-0123456789abcdef0", Placement: order("x").Placement})
		is(t, "an unknown instance", err, compute.ErrNone)
		foreign := motoForeign(t, account, order("x").Placement)
		is(t, "an instance of somebody else", p.Terminate(ctx, compute.Ref{ID: foreign, Placement: order("x").Placement}), compute.ErrForeign)
	})
	t.Run("copy of an image", func(t *testing.T) {
		got, err := p.CopyImage(ctx, provider.ImageCopy{Image: order("x").Placement.Image, From: "us-west-2", To: "us-east-1", Name: "copied"}, nil)
		if err != nil || got.State != "available" || got.ID == "" {
			t.Fatalf("%+v, %v", got, err)
		}
	})
}

// motoDoor leads to moto, and answers for it that no instance has the client
// token that is looked for: moto has no such filter.
func motoDoor(t *testing.T, target string) string {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		form, err := url.ParseQuery(string(body))
		if err == nil && form.Get("Filter.1.Name") == "client-token" {
			_, _ = io.WriteString(w, `<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet/></DescribeInstancesResponse>`)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func motoClient(t *testing.T, account *awsclient.Account) *api.Client {
	t.Helper()
	c, _, err := account.Config(t.Context(), "ec2", "us-west-2")
	if err != nil {
		t.Fatal(err)
	}
	return api.NewFromConfig(c)
}

// motoOrder makes orders for what moto's account has from the start: a default
// network and public images.
func motoOrder(t *testing.T, account *awsclient.Account) func(key string) compute.Order {
	t.Helper()
	c := motoClient(t, account)
	images, err := c.DescribeImages(t.Context(), &api.DescribeImagesInput{Owners: []string{"amazon"}, Filters: []types.Filter{{Name: aws.String("root-device-type"), Values: []string{"ebs"}}}})
	if err != nil || len(images.Images) == 0 {
		t.Fatalf("moto has no images: %v", err)
	}
	subnets, err := c.DescribeSubnets(t.Context(), &api.DescribeSubnetsInput{Filters: []types.Filter{{Name: aws.String("availability-zone"), Values: []string{"us-west-2a"}}}})
	if err != nil || len(subnets.Subnets) == 0 {
		t.Fatalf("moto has no subnet: %v", err)
	}
	groups, err := c.DescribeSecurityGroups(t.Context(), &api.DescribeSecurityGroupsInput{})
	if err != nil || len(groups.SecurityGroups) == 0 {
		t.Fatalf("moto has no security group: %v", err)
	}
	place := runbooks.Placement{
		Region: "us-west-2", Zone: "us-west-2a", Type: "g5.xlarge", Image: *images.Images[0].ImageId, Subnet: *subnets.Subnets[0].SubnetId, SecurityGroups: []string{*groups.SecurityGroups[0].GroupId},
	}
	return func(key string) compute.Order {
		return compute.Order{
			Key: key, Service: "fun-asr", Epoch: 7, Mode: "live", Expires: time.Now().Add(time.Hour), Boot: "#cloud-config\n{}\n",
			Provision: runbooks.Provision{Kind: "ec2", Placements: []runbooks.Placement{place}}, Placement: place,
		}
	}
}

func motoForeign(t *testing.T, account *awsclient.Account, place runbooks.Placement) string {
	t.Helper()
	out, err := motoClient(t, account).RunInstances(t.Context(), &api.RunInstancesInput{ImageId: &place.Image, InstanceType: "m5.large", MinCount: aws.Int32(1), MaxCount: aws.Int32(1)})
	if err != nil {
		t.Fatal(err)
	}
	return *out.Instances[0].InstanceId
}

func motoState(t *testing.T, p *provider.Provider, o compute.Order, want compute.State) compute.Machine {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		m, err := p.Describe(t.Context(), ref(o))
		if err == nil && m.State == want {
			return m
		}
		if time.Now().After(end) {
			t.Fatalf("%+v, %v; want %s", m, err, want)
		}
	}
}
