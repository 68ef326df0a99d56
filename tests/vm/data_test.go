//go:build vm

package vm

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/compute/boot"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/site/asr"
)

// The model is mounted with s3fs in the guest, and the history that another
// epoch has replicated is restored there before the service starts.
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
	fmt.Fprintf(os.Stderr, "boot times: slim image, model mounted with s3fs and hashed, history restored: /health after %.1f s\n", time.Since(began).Seconds())
	resp, err := http.Get(fmt.Sprintf("http://%s:%d/history", m.Address, port))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(answer), "said before the disaster") {
		t.Errorf("the history is %s, %v", answer, err)
	}
	if got := transcribed(t, m); !strings.Contains(got, canary) {
		t.Errorf("heard %s, want %s", got, canary)
	}
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
