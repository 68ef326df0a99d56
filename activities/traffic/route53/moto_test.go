//go:build moto

package route53_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/understudy-dr/understudy/activities/awsclient"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/traffic/route53"
	"github.com/understudy-dr/understudy/runbooks"
)

// TestMoto is a second opinion on what is sent: moto, an independent Route 53,
// answers instead of our own. It says nothing of waiting, because its changes
// are in sync at once. Each record is created here with values that it has not
// had before: moto takes one that was created so at any time for one that is there.
func TestMoto(t *testing.T) {
	endpoint := os.Getenv("MOTO_URL")
	if endpoint == "" {
		t.Fatal("MOTO_URL names no moto server; make test-moto starts one")
	}
	client := api.New(api.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(endpoint),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "id", SecretAccessKey: "secret"}, nil
		}),
	})
	made, err := client.CreateHostedZone(t.Context(), &api.CreateHostedZoneInput{Name: aws.String("example.com"), CallerReference: aws.String(time.Now().Format(time.RFC3339Nano))})
	if err != nil {
		t.Fatal(err)
	}
	var batch []types.Change
	put := func(family types.RRType, id, value string, weight int64) {
		batch = append(batch, types.Change{Action: types.ChangeActionUpsert, ResourceRecordSet: &types.ResourceRecordSet{
			Name: aws.String(record), Type: family, SetIdentifier: aws.String(id), Weight: aws.Int64(weight), TTL: aws.Int64(60),
			ResourceRecords: []types.ResourceRecord{{Value: aws.String(value)}},
		}})
	}
	put(types.RRTypeA, "primary", "10.0.0.1", 100)
	put(types.RRTypeA, "hot", "10.0.0.2", 0)
	put(types.RRTypeA, "cold", "10.0.0.3", 0)
	if _, err := client.ChangeResourceRecordSets(t.Context(), &api.ChangeResourceRecordSetsInput{HostedZoneId: made.HostedZone.Id, ChangeBatch: &types.ChangeBatch{Changes: batch}}); err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	site := runbooks.AWS{
		AccessKey: runbooks.Secret{File: filepath.Join(dir, "id")}, SecretKey: runbooks.Secret{File: filepath.Join(dir, "secret")},
		Endpoints: map[string]string{"route53": endpoint},
	}
	for _, file := range []string{site.AccessKey.File, site.SecretKey.File} {
		if err := os.WriteFile(file, []byte("x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := route53.New(route53.Config{
		Traffic: runbooks.Traffic{Kind: "route53", Zone: *made.HostedZone.Id, Record: record, Front: "https://" + record},
		Account: awsclient.New(site), Poll: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	serves := func(want ...string) {
		t.Helper()
		v, err := b.View(t.Context())
		if err != nil || !slices.Equal(v.Serving(), want) || len(v.Servers) != 3 {
			t.Errorf("serving %v of %+v, %v; want %v", v.Serving(), v.Servers, err, want)
		}
	}
	serves("primary")
	apply(t, b, toHot)
	serves("hot")
	apply(t, b, toHot)
	moved := apply(t, b, set(to("hot", traffic.Maint), traffic.Assignment{Server: "cold", State: traffic.Ready, Address: "10.9.9.9:7860"}))
	if cold, _ := moved.Server("cold"); cold.Address != "10.9.9.9:443" {
		t.Errorf("cold is %+v", cold)
	}
	serves("cold")
	if _, err := b.Apply(t.Context(), set(to("cold", traffic.Maint))); !errors.Is(err, traffic.ErrRefused) {
		t.Errorf("nobody with weight: %v, want ErrRefused", err)
	}
	if _, err := b.Apply(t.Context(), set(to("nobody", traffic.Ready))); !errors.Is(err, traffic.ErrNoServer) {
		t.Errorf("nobody: %v, want ErrNoServer", err)
	}
	serves("cold")
}
