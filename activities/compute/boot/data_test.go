package boot_test

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	_ "modernc.org/sqlite"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/compute/boot"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
)

// rows are those of a history database.
func rows(t *testing.T, file string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("select count(*) from history").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// replicated is a database of three rows that a real Litestream has replicated to the prefix of epoch 6.
func replicated(t *testing.T, minio *harness.MinIOServer) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "history.db")
	db, err := sql.Open("sqlite", file+"?_pragma=journal_mode(wal)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{"create table history (text)", "insert into history values ('a'), ('b'), ('c')"} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	p, err := harness.Litestream(t.Context(), harness.LitestreamOptions{Dir: dir, DB: file, Replica: replica.Prefix("s3://models/history", 6), S3: minio.Site()})
	if err != nil {
		t.Skipf("missing: %v", err)
	}
	client, err := minio.Clients().For("models")
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("models"), Prefix: aws.String("history/epoch-6/")})
		if err == nil && len(out.Contents) > 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("litestream does not replicate: %v\n%s", err, p.Tail(4000))
		}
	}
	p.Stop(10 * time.Second) // which uploads the rest
}

func TestDataIsRestored(t *testing.T) {
	t.Parallel()
	minio, where := store(t)
	litestream, err := harness.FindLitestream()
	if err != nil {
		t.Skipf("missing: %v", err)
	}
	replicated(t, minio)
	upload(t, minio, "audio/epoch-6", map[string]string{"a.wav": "A", "sub/b.wav": "B", ".understudy-synced": "{}"})
	path := withoutTools(t, "s3fs", "fusermount", "sqlite3")
	if err := os.Symlink(litestream, filepath.Join(path, "litestream")); err != nil {
		t.Fatal(err)
	}
	machine := func(key, check string) boot.Machine {
		return boot.Machine{Order: compute.Order{Key: key, Epoch: 7}, Data: []boot.Data{
			{Data: runbooks.Data{Kind: "files", Path: "nowhere"}, To: "s3://models/other/epoch-7"},
			{
				Data:  runbooks.Data{Kind: "litestream", Path: "app/data/history.db", Check: check},
				Store: where, From: replica.Prefix("s3://models/history", 6), To: replica.Prefix("s3://models/history", 7),
			},
			{Data: runbooks.Data{Kind: "files", Path: "app/audio"}, Store: where, From: replica.Prefix("s3://models/audio", 6)},
		}}
	}
	_, c := render(t, func() boot.Machine {
		m := machine("k", "")
		for i := range m.Data {
			m.Data[i].Path = "/" + m.Data[i].Path
		}
		return m
	}())
	env := c.file("/etc/understudy/service.env")
	if !strings.Contains(env, `UNDERSTUDY_REPLICA_0="s3://models/other/epoch-7"`) || !strings.Contains(env, `UNDERSTUDY_REPLICA_1="s3://models/history/epoch-7"`) {
		t.Errorf("the environment is\n%s", env)
	}

	h := newHost(t, path)
	for range 2 { // the second time it is a later boot of the same machine
		said, _ := h.bootAs("up", machine("k", "select count(*)\nfrom history"))
		if strings.Count(said, "restore done") != 2 || !strings.Contains(said, "boot done") {
			t.Fatalf("it said:\n%s", said)
		}
	}
	if n := rows(t, h.at("app/data/history.db")); n != 3 {
		t.Errorf("%d rows were restored", n)
	}
	if got := h.content("app/audio"); !maps.Equal(got, map[string]string{"a.wav": "A", "sub/b.wav": "B"}) {
		t.Errorf("files that were restored: %v", got)
	}
	if left := h.content("app/data"); len(left) != 1 {
		t.Errorf("beside the database there is %v", left)
	}

	// Data of another order is not overwritten, and not used.
	said, steps := h.bootAs("up", machine("another", ""))
	if step, failed := boot.Failed(steps); !failed || !strings.Contains(step.Detail, "other data lies there") {
		t.Errorf("with data of another order it said:\n%s", said)
	}
	for what, change := range map[string]func(*boot.Machine){
		"a check that fails":       func(m *boot.Machine) { m.Data[1].Check = "select nothing from nowhere" },
		"a replica that is not":    func(m *boot.Machine) { m.Data[1].From = replica.Prefix("s3://models/history", 5) },
		"an image without the key": func(m *boot.Machine) { m.Data[1].Store.Login = "/none" },
	} {
		h := newHost(t, path)
		m := machine("k", "")
		change(&m)
		said, steps := h.bootAs("up", m)
		if step, failed := boot.Failed(steps); !failed || step.Name != "restore" {
			t.Errorf("%s: it said:\n%s", what, said)
		}
		if _, err := os.Stat(h.at("app/data/history.db")); err == nil {
			t.Errorf("%s: the database stands where the service looks for it", what)
		}
	}
}

func TestDataThatCannotBeHandedOver(t *testing.T) {
	for what, change := range map[string]func(*boot.Data){
		"a replica on a disk":        func(d *boot.Data) { d.From = "file:///backup" },
		"a relative path":            func(d *boot.Data) { d.Path = "history.db" },
		"a line break in the path":   func(d *boot.Data) { d.Path = "/a\nb" },
		"an anonymous litestream":    func(d *boot.Data) { d.Store.Login = boot.Anonymous },
		"a control character inside": func(d *boot.Data) { d.Check = "select '\x1b'" },
	} {
		d := boot.Data{Data: runbooks.Data{Kind: "litestream", Path: "/a/history.db"}, From: "s3://history/epoch-1"}
		change(&d)
		if text, err := boot.Render(boot.Machine{Data: []boot.Data{d}}); !errors.Is(err, compute.ErrRefused) {
			t.Errorf("%s: %v\n%s", what, err, text)
		}
	}
	if _, err := boot.Render(boot.Machine{Data: []boot.Data{{From: fmt.Sprint("s3://history/epoch-", 1), Data: runbooks.Data{Kind: "litestream", Path: "/a"}}}}); err != nil {
		t.Error(err)
	}
}
