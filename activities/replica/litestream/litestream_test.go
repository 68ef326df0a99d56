package litestream_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/understudy-dr/understudy/activities/holds"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/replica/litestream"
	"github.com/understudy-dr/understudy/activities/replica/replicatest"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
)

var traits = replicatest.Traits{
	New: func(c replicatest.Config) replica.Replica {
		return litestream.New(litestream.Config{Clients: c.Clients, State: c.State, Program: program()})
	},
	Data: func(url, path string) runbooks.Data {
		return runbooks.Data{Kind: "litestream", Replica: url, Path: path, Check: "select count(*) from history"}
	},
	Write: write,
	Read:  read,
	Exact: true,
	Beside: func(path string) []string {
		dir, base := filepath.Split(path)
		return []string{path + "-wal", path + "-shm", path + "-journal", filepath.Join(dir, "."+base+"-litestream")}
	},
}

func program() string {
	path, err := harness.FindLitestream()
	if err != nil {
		return "litestream"
	}
	return path
}

func need(t *testing.T) {
	t.Helper()
	if _, err := harness.FindLitestream(); err != nil {
		t.Skipf("missing: %v", err)
	}
}

func TestMain(m *testing.M) { replicatest.Main(m, traits) }

func TestReplica(t *testing.T) {
	need(t)
	replicatest.Run(t, traits)
}

func openDB(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: "_pragma=journal_mode(wal)&_pragma=busy_timeout(20000)"}).String())
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// writer is a service with a history, and a real litestream beside it.
type writer struct {
	t       *testing.T
	db      *sql.DB
	options harness.LitestreamOptions
	process *harness.Process
}

func write(t *testing.T, store runbooks.S3, d runbooks.Data, epoch int64) replicatest.Writer {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(d.Path), 0o755); err != nil {
		t.Fatal(err)
	}
	w := &writer{t: t, db: openDB(t, d.Path), options: harness.LitestreamOptions{
		Dir: t.TempDir(), DB: d.Path, Replica: replica.Prefix(d.Replica, epoch), S3: store, Interval: "20ms",
	}}
	t.Cleanup(func() { w.db.Close() })
	if _, err := w.db.Exec("create table if not exists history (id integer primary key, item text, audio blob)"); err != nil {
		t.Fatal(err)
	}
	w.Revive()
	t.Cleanup(w.Kill)
	return w
}

func (w *writer) Write(item string) {
	w.t.Helper()
	audio := make([]byte, 32<<10)
	_, _ = rand.Read(audio)
	if _, err := w.db.Exec("insert into history (item, audio) values (?, ?)", item, audio); err != nil {
		w.t.Fatal(err)
	}
}

func (w *writer) Kill() { w.process.Kill() }

func (w *writer) Revive() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	if w.process, err = harness.Litestream(ctx, w.options); err != nil {
		w.t.Fatal(err)
	}
}

func read(t *testing.T, path string) []string {
	t.Helper()
	db := openDB(t, path)
	defer db.Close()
	rows, err := db.Query("select item from history where length(audio) = 32768")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var items []string
	for rows.Next() {
		var item string
		if err := rows.Scan(&item); err != nil {
			t.Fatal(err)
		}
		items = append(items, item)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(items)
	return items
}

// A replica may also be a directory, of another machine say.
func TestAReplicaOnADisk(t *testing.T) {
	need(t)
	dir := t.TempDir()
	d := traits.Data("file://"+filepath.Join(dir, "replica"), filepath.Join(dir, "primary", "data"))
	w := write(t, runbooks.S3{}, d, 5)
	w.Write("one")
	d.Path = filepath.Join(dir, "standby", "data")
	r := litestream.New(litestream.Config{State: filepath.Join(dir, "state"), Program: program()})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		point, err := r.Look(t.Context(), d, 5)
		var restored replica.Restored
		if err == nil {
			restored, err = r.Restore(t.Context(), "key", d, point)
		}
		if err == nil && restored.Check == "1" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %+v, %+v, %v", point, restored, err)
		}
		if err := r.Remove(t.Context(), "key", d); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, d.Path); !slices.Equal(got, []string{"one"}) {
		t.Errorf("restored %q", got)
	}
	if all, err := r.Epochs(t.Context(), d); err != nil || !slices.Equal(all, []int64{5}) {
		t.Errorf("epochs: %v, %v", all, err)
	}
	none := traits.Data("file://"+filepath.Join(dir, "absent"), d.Path)
	if _, err := r.Look(t.Context(), none, 5); !errors.Is(err, replica.ErrNone) {
		t.Errorf("look at nothing: %v, want ErrNone", err)
	}
	if all, err := r.Epochs(t.Context(), none); err != nil || len(all) > 0 {
		t.Errorf("epochs of nothing: %v, %v", all, err)
	}
}

func TestChecks(t *testing.T) {
	need(t)
	server := harnesstest.MinIO(t, "history")
	dir := t.TempDir()
	d := traits.Data("s3://history/x", filepath.Join(dir, "primary", "data"))
	w := write(t, server.Site(), d, 1)
	w.Write("it's \"one\"\nof two")
	w.Write("two")
	d.Path = filepath.Join(dir, "standby", "data")
	r := litestream.New(litestream.Config{Clients: server.Clients(), State: filepath.Join(dir, "state"), Program: program()})
	restore := func(check string) (replica.Restored, error) {
		t.Helper()
		d.Check = check
		point, err := r.Look(t.Context(), d, 1)
		if err != nil {
			return replica.Restored{}, err
		}
		restored, err := r.Restore(t.Context(), "key", d, point)
		if rerr := r.Remove(t.Context(), "key", d); rerr != nil {
			t.Error(rerr)
		}
		return restored, err
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if got, err := restore("select count(*) from history"); err == nil && got.Check == "2" {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	for check, want := range map[string]string{
		"": "",
		"select item, id, null from history order by id": `it's "one" of two, 1,`,
		"select max(id) from history;":                   "2",
		"select replace(hex(zeroblob(500)), '00', 'é')":  "",
	} {
		got, err := restore(check)
		if err != nil || (want != "" && got.Check != want) || len(got.Check) > 200 {
			t.Errorf("%s: %q, %v; want %q", check, got.Check, err, want)
		}
	}
	for _, check := range []string{
		"select count(*) from absent", "select 1 from history where id > 10", "not SQL", "delete from history", "insert into history (item) values ('x')",
		"create table x (y)", "pragma journal_mode = delete; drop table history",
	} {
		if got, err := restore(check); !errors.Is(err, replica.ErrDamaged) {
			t.Errorf("%s: %+v, %v; want ErrDamaged", check, got, err)
		}
		if left, _ := os.ReadDir(filepath.Dir(d.Path)); len(left) > 0 {
			t.Errorf("%s: left %v", check, left)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	d.Check = "with recursive n(x) as (select 1 union all select x + 1 from n) select count(*) from n" // never ends
	point, err := r.Look(t.Context(), d, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Restore(ctx, "key", d, point); !errors.Is(err, replica.ErrUnavailable) || errors.Is(err, replica.ErrDamaged) {
		t.Errorf("a check that never ends: %v, want ErrUnavailable", err)
	}
}

func TestAHostWithoutTheProgram(t *testing.T) {
	need(t)
	server := harnesstest.MinIO(t, "history")
	dir := t.TempDir()
	d := traits.Data("s3://history/x", filepath.Join(dir, "primary", "data"))
	write(t, server.Site(), d, 1)
	d.Path = filepath.Join(dir, "standby", "data")
	r := litestream.New(litestream.Config{Clients: server.Clients(), State: filepath.Join(dir, "state"), Program: filepath.Join(dir, "absent")})
	var point replica.Point
	for deadline := time.Now().Add(time.Minute); point.Position == ""; time.Sleep(20 * time.Millisecond) {
		var err error
		if point, err = r.Look(t.Context(), d, 1); err != nil && time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if _, err := r.Restore(t.Context(), "key", d, point); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "install") {
		t.Errorf("got %v, want an error that says what to install", err)
	}
	if left := holds.Missing(filepath.Dir(d.Path)); len(left) != 1 {
		t.Error("something is left")
	}
}
