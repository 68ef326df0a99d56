//go:build vm

package vm

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/compute/boot"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/site/asr"
)

// The model is mounted with s3fs in the guest and proven there, and the history
// that another epoch has replicated is restored there before the service starts.
// Clients reach it through the load balancer on this host.
func TestModelIsMountedAndHistoryRestored(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "history.db")
	history, err := asr.OpenHistory(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer history.Close()
	replica := "s3://" + harness.HistoryBucket + "/asr/epoch-6"
	replicating, err := harness.Litestream(t.Context(), harness.LitestreamOptions{Dir: dir, DB: db, Replica: replica, S3: here.minio.Site()})
	if err != nil {
		t.Fatal(err)
	}
	if err := history.Add(t.Context(), asr.Entry{RawText: "said before the disaster"}); err != nil {
		t.Fatal(err)
	}
	awaitObjects(t, harness.HistoryBucket, "asr/epoch-6/")
	// When it is asked to end, Litestream brings what is left to the store first.
	replicating.Stop(20 * time.Second)

	o := here.order(t, "history", func(m *boot.Machine) {
		m.Volumes[0].Mode = "mount"
		m.Order.Provision.Command = append(m.Order.Provision.Command, "--history", "/data/history.db")
		m.Data = []boot.Data{{
			Data:  runbooks.Data{Kind: "litestream", Path: "/data/history.db", Check: "select count(*) from history"},
			Store: m.Volumes[0].Store, From: replica, To: "s3://" + harness.HistoryBucket + "/asr/epoch-7",
		}}
	})
	began := time.Now()
	m := here.start(t, o)
	here.healthy(t, o, m)
	here.took("slim image", "mounted with s3fs, proven; history restored", time.Since(began))
	console, err := here.provider.Console(t.Context(), ref(o))
	if err != nil {
		t.Fatal(err)
	}
	steps := boot.Steps(console)
	for _, want := range []boot.Step{
		{Name: "mount", State: "done", Detail: "/models/asr"}, {Name: "verify", State: "done", Detail: "/models/asr"}, {Name: "restore", State: "done", Detail: "/data/history.db"},
	} {
		if !slices.Contains(steps, want) {
			t.Errorf("the console does not say %+v:\n%s", want, console)
		}
	}
	front := balanced(t, dir, m)
	if got := transcribed(t, front); !strings.Contains(got, canary) {
		t.Errorf("heard %s, want %s", got, canary)
	}
	if answer := get(t, front+"/history"); !strings.Contains(answer, "said before the disaster") || !strings.Contains(answer, canary) {
		t.Errorf("the history is %s", answer)
	}
}

// get is the body of what a URL answers.
func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
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

// balanced puts a machine behind HAProxy, and returns the URL of its front door.
func balanced(t *testing.T, dir string, m compute.Machine) string {
	t.Helper()
	address := harness.Address(harness.FreePort())
	balancer, err := harness.HAProxy(t.Context(), dir, fmt.Sprintf(`defaults
  mode http
  timeout connect 5s
  timeout client 2m
  timeout server 2m
frontend speech
  bind %s
  default_backend machines
backend machines
  server cold %s:%d
`, address, m.Address, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(balancer.Kill)
	return "http://" + address
}

// awaitObjects waits until there is something below a prefix.
func awaitObjects(t *testing.T, bucket, prefix string) {
	t.Helper()
	client, err := here.minio.Clients().For(bucket)
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		out, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
		if err == nil && len(out.Contents) > 0 {
			return
		}
		if time.Since(began) > patience {
			t.Fatalf("nothing comes to s3://%s/%s: %v", bucket, prefix, err)
		}
	}
}
