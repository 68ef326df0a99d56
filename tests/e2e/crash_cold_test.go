package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/replica/litestream"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/ec2"
	"github.com/understudy-dr/understudy/tests/ec2/ec2fixture"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
	"github.com/understudy-dr/understudy/triggers"
)

// coldMoments of a recovery to a machine that is made on this host, in the order
// in which they come. Model and data are brought at the same time.
var coldMoments = []moment{
	{name: "the claim after", arm: func(s *crashScene) { s.epoch.After(claim, 1, s.kill) }},
	{name: "the check", arm: func(s *crashScene) { s.epoch.Before(manifested, 1, s.kill) }},
	{name: "the mount in the middle of the model", arm: func(s *crashScene) { s.epoch.After(reading, 1, s.strike) }},
	{name: "the restore", arm: func(s *crashScene) { s.epoch.Before(restoring, 1, s.strike) }},
	{name: "the launch taken and not answered", arm: func(s *crashScene) { s.launch.Before("GET /", 1, s.strike) }},
	{name: "the launch answered", arm: func(s *crashScene) { s.machine.Before("GET /health", 1, s.kill) }},
	{name: "the machine is ready", arm: func(s *crashScene) { s.machine.After(`GET /version`, 1, s.kill) }},
	{name: "the proof before", arm: func(s *crashScene) { s.machine.Before("POST ", 1, s.kill) }},
	{name: "the proof after", arm: func(s *crashScene) { s.machine.After("POST ", 1, s.kill) }},
	{name: "the switch before", arm: func(s *crashScene) { s.haproxy.Before("set server", 1, s.kill) }},
	{name: "the switch and its read-back after", serves: true, arm: func(s *crashScene) { s.haproxy.After("set server", 1, s.kill) }},
	{name: "the front door's canary after", serves: true, arm: func(s *crashScene) { s.front.After("POST ", 1, s.kill) }},
	{name: "the confirm window", serves: true, arm: func(s *crashScene) { s.front.After("POST ", 2, s.kill) }},
	{name: "the last record of the epoch", serves: true, arm: func(s *crashScene) { s.epoch.After(settledCold, 1, s.kill) }},
}

// cloudMoments of one to a machine in EC2: between the launch that was accepted
// and its answer lies a network.
var cloudMoments = []moment{
	{name: "the launch before", arm: func(s *crashScene) { s.cloud.Before("Action=RunInstances", 1, s.kill) }},
	{name: "the launch accepted and not answered", arm: func(s *crashScene) { s.cloud.After("Action=RunInstances", 1, s.kill) }},
	{name: "the switch and its read-back after", serves: true, arm: func(s *crashScene) { s.haproxy.After("set server", 1, s.kill) }},
}

// What the requests to S3 contain: those of Understudy, of s3fs and of Litestream.
const (
	manifested  = "MANIFEST.sha256"
	reading     = "GET /" + harness.ModelBucket + "/asr-" + harness.ModelVersion + "/en-us/means"
	restoring   = "User-Agent: litestream"
	settledCold = `"active": "cold"`
)

// rowsBefore is how many transcriptions there are before the outage.
const rowsBefore = 3

// stock puts the model into a store that scenes share.
func stock(t *testing.T, store *harness.MinIOServer) {
	t.Helper()
	harnesstest.Engines(t)
	if _, err := harness.Find("s3fs", "s3fs"); err != nil {
		t.Skipf("missing: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	if err := store.Stock(ctx); err != nil {
		t.Fatal(err)
	}
}

// wireCold puts the taps of the cold tier into the runbook and the site file.
func (s *crashScene) wireCold(t *testing.T, r *runbooks.Runbook, site *runbooks.Site) {
	t.Helper()
	tier := &r.Tiers[1]
	if s.options.Cloud {
		s.account = cloud(t, s.Scene, tier, ec2.Options{})
		site.AWS = s.account.AWS
		s.cloud = s.tap(t, harness.TapHTTP, s.account.URL)
		site.AWS.Endpoints = map[string]string{"ec2": s.cloud.URL()}
		return
	}
	doorbell := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	t.Cleanup(doorbell.Close)
	s.launch = s.tap(t, harness.TapHTTP, doorbell.URL)
	s.machine = s.tap(t, harness.TapHTTP, harness.Address(s.Cold.Port))
	_, port, _ := strings.Cut(s.machine.Address, ":")
	tier.URL = "http://{address}:" + port
	// It writes down that it starts, rings, and becomes the speech server.
	begin := fmt.Sprintf(`echo "$$" >>'%s'; curl --silent --max-time 60 %s/; exec "$@"`, s.launches(), s.launch.URL())
	tier.Provision.Command = append([]string{"/bin/sh", "-c", begin, "sh"}, tier.Provision.Command...)
}

// launches is the file in which each start of a machine here leaves a line.
func (s *crashScene) launches() string { return filepath.Join(s.Dir, "launches") }

// ruin lets primary and hot standby die, once what was written before has arrived in S3.
func (s *crashScene) ruin(t *testing.T) {
	t.Helper()
	if s.History != "" {
		write(t, s.History, rowsBefore)
		replicated(t, s.Scene, 0, rowsBefore)
	}
	s.Primary.Kill()
	s.Hot.Kill()
}

// auditMachine wants one machine, made once, that serves with its data, and
// nothing else left over.
func (s *crashScene) auditMachine(t *testing.T) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		now, err := s.Servers(ctx)
		if err == nil && (now["primary"] != "MAINT" || !strings.HasPrefix(now["hot"], "MAINT") || !strings.HasPrefix(now["cold"], "UP")) {
			err = fmt.Errorf("HAProxy shows %v", now)
		}
		return err
	})
	call(t, s.Front, 5*time.Second).answers(t, 3)
	var list triggers.MachineList
	if err := s.Understudy.Get(t.Context(), "/api/v1/machines", &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Machines) != 1 || list.Machines[0].State != compute.Running || list.Machines[0].Held != "fun-asr runs on it" || list.Problem != "" {
		t.Errorf("machines: %+v", list)
	}
	if s.options.Cloud {
		if launched := s.account.Instances(ec2fixture.Region); len(launched) != 1 || len(s.account.Alive()) != 1 {
			t.Errorf("EC2 has launched %+v", launched)
		}
		return
	}
	if started, _ := os.ReadFile(s.launches()); strings.Count(string(started), "\n") != 1 {
		t.Errorf("machines were started %d times", strings.Count(string(started), "\n"))
	}
	if n := len(processes(t, "speech-site\x00asr", harness.Address(s.Cold.Port))); n != 1 {
		t.Errorf("%d speech servers", n)
	}
	if n := len(processes(t, "s3fs", s.Cold.Mount)); n != 1 {
		t.Errorf("%d mounting programs", n)
	}
	if mounts := mountsBelow(t, s.Dir); !slices.Equal(mounts, []string{s.Cold.Mount}) {
		t.Errorf("mounted: %q", mounts)
	}
	s.auditHistory(t)
}

// auditHistory wants the whole history, whole, and nothing beside it that a restore left.
func (s *crashScene) auditHistory(t *testing.T) {
	t.Helper()
	path := s.Runbook.Data[0].Path
	if rows := intact(t, path); rows < rowsBefore {
		t.Errorf("the history has %d rows", rows)
	}
	beside, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range beside {
		if !strings.HasPrefix(entry.Name(), filepath.Base(path)) {
			t.Errorf("beside the history there is %s", entry.Name())
		}
	}
}

// write adds rows to a history.
func write(t *testing.T, file string, rows int) {
	t.Helper()
	db := history(t, file, "rw")
	for range rows {
		if _, err := db.ExecContext(t.Context(), "insert into history (timestamp, filename, path, raw_text, itn_text, language) values (?, 'a.wav', '', 'one', '1', 'en')",
			time.Now().UTC().Format(time.RFC3339Nano)); err != nil {
			t.Fatal(err)
		}
	}
}

// intact checks a history and counts its rows.
func intact(t *testing.T, file string) (rows int) {
	t.Helper()
	db := history(t, file, "ro")
	var verdict string
	if err := db.QueryRowContext(t.Context(), "pragma integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("the integrity check of %s: %s, %v", file, verdict, err)
	}
	if err := db.QueryRowContext(t.Context(), "select count(*) from history").Scan(&rows); err != nil {
		t.Errorf("count the rows of %s: %v", file, err)
	}
	return rows
}

// history opens a history that is there.
func history(t *testing.T, file, mode string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: file, RawQuery: "mode=" + mode + "&_pragma=busy_timeout(5000)"}).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// replicated waits until so many rows can be restored from an epoch's prefix,
// and returns the point at which they can.
func replicated(t *testing.T, s *harness.Scene, epoch int64, rows int) replica.Point {
	t.Helper()
	d := s.Runbook.Data[0]
	d.Check = "select count(*) from history"
	r := litestream.New(litestream.Config{Clients: s.Cold.MinIO.Clients(), State: t.TempDir()})
	var point replica.Point
	tries := 0
	eventually(t, func(ctx context.Context) (err error) {
		if point, err = r.Look(ctx, d, epoch); err != nil {
			return err
		}
		tries++
		d.Path = filepath.Join(t.TempDir(), fmt.Sprint(tries))
		restored, err := r.Restore(ctx, fmt.Sprint("look-", tries), d, point)
		if err == nil && restored.Check < fmt.Sprint(rows) && len(restored.Check) <= len(fmt.Sprint(rows)) {
			err = fmt.Errorf("%s rows have arrived", restored.Check)
		}
		return err
	})
	return point
}

// processes are those whose arguments contain all of some texts.
func processes(t *testing.T, texts ...string) (found []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		line, _ := os.ReadFile(path) // it may have ended meanwhile
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(string(line), text) }) {
			found = append(found, filepath.Base(filepath.Dir(path)))
		}
	}
	return found
}

// mountsBelow lists what is mounted below a directory.
func mountsBelow(t *testing.T, dir string) (mounts []string) {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); strings.HasPrefix(fields[1], dir+"/") {
			mounts = append(mounts, fields[1])
		}
	}
	return mounts
}

// cloud makes a tier's machine one in EC2, with a real speech server on it.
func cloud(t *testing.T, s *harness.Scene, tier *runbooks.Tier, o ec2.Options) *ec2fixture.Site {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	program, err := harness.BuildSite(ctx)
	if err != nil {
		t.Fatal(err)
	}
	model, err := harness.BuildModel(ctx, "asr", harness.ModelVersion)
	if err != nil {
		t.Fatal(err)
	}
	port := harness.FreePort()
	o.Launch = ec2.Program(s.Dir, program, "asr", "--model", model, "--listen", fmt.Sprintf("{address}:%d", port))
	account := ec2fixture.New(t, o)
	tier.URL = fmt.Sprintf("http://{address}:%d", port)
	tier.Volumes = nil // the model is in the image
	tier.Provision = &runbooks.Provision{Kind: "ec2", Profile: "asr-dr", Placements: []runbooks.Placement{ec2fixture.Place("a"), ec2fixture.Place("b")}}
	return account
}
