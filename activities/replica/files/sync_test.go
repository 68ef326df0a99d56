package files_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sys/unix"

	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/replica/files"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
)

const bucket = "audio"

// desk is a directory and its replica, synchronised round by round.
type desk struct {
	t      *testing.T
	server *harness.MinIOServer
	dir    string
	data   runbooks.Data
	config files.SyncerConfig
	*files.Syncer
}

func newDesk(t *testing.T, server *harness.MinIOServer) *desk {
	t.Helper()
	dir := t.TempDir()
	d := &desk{t: t, server: server, dir: filepath.Join(dir, "audio")}
	d.data = traits.Data("s3://"+bucket+"/"+strings.ReplaceAll(t.Name(), "/", "-"), filepath.Join(dir, "standby", "audio"))
	if err := os.Mkdir(d.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d.config = files.SyncerConfig{Clients: server.Clients(), Dir: d.dir, Bucket: d.data.Bucket, Epoch: 1, Settle: time.Nanosecond}
	d.restart()
	return d
}

func (d *desk) restart() {
	d.t.Helper()
	var err error
	if d.Syncer, err = files.NewSyncer(d.config); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) write(name, content string) {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		d.t.Fatal(err)
	}
}

// round synchronises once and expects so many files to be sent.
func (d *desk) round(sent int) files.Round {
	d.t.Helper()
	r := d.Once(d.t.Context())
	if r.Err != nil || r.Sent != sent {
		d.t.Errorf("round %+v, want %d sent", r, sent)
	}
	return r
}

// restored restores the replica and lists what came, with its content.
func (d *desk) restored() string {
	d.t.Helper()
	r := files.New(files.Config{Clients: d.server.Clients(), State: d.t.TempDir()})
	point, err := r.Look(d.t.Context(), d.data, 1)
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := r.Restore(d.t.Context(), "key", d.data, point); err != nil {
		d.t.Fatal(err)
	}
	var all []string
	if err := filepath.Walk(d.data.Path, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(d.data.Path, path)
		all = append(all, name+"="+string(content))
		return err
	}); err != nil {
		d.t.Error(err)
	}
	if err := r.Remove(d.t.Context(), "key", d.data); err != nil {
		d.t.Error(err)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func (d *desk) put(name, content string) {
	d.t.Helper()
	client, err := d.server.Clients().For(bucket)
	if err != nil {
		d.t.Fatal(err)
	}
	at, err := s3client.ParseURL(replica.Prefix(d.data.Bucket, 1))
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := client.PutObject(d.t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(at.Key + "/" + name), Body: strings.NewReader(content)}); err != nil {
		d.t.Fatal(err)
	}
}

func TestSyncer(t *testing.T) {
	server := harnesstest.MinIO(t, bucket)
	for name, test := range map[string]func(*testing.T, *desk){
		"new and changed and removed": changes,
		"what is left out":            leftOut,
		"still being written":         stillWritten,
		"one that cannot be read":     unreadable,
		"another directory":           anotherDirectory,
		"a restart":                   restart,
		"the moment of the marker":    theMarker,
		"modification times":          modificationTimes,
		"files of another tool":       otherTool,
		"less than was looked at":     less,
	} {
		t.Run(name, func(t *testing.T) { test(t, newDesk(t, server)) })
	}
}

func changes(t *testing.T, d *desk) {
	d.round(0)
	if got := d.restored(); got != "" {
		t.Errorf("an empty directory: %q", got)
	}
	d.write("a.wav", "one")
	d.write("2026/语音 1.wav", "two")
	d.write("empty.wav", "")
	if r := d.round(3); r.Files != 3 || r.Waiting != 0 {
		t.Errorf("got %+v", r)
	}
	d.round(0)
	d.write("a.wav", "three")
	d.round(1)
	want := "2026/语音 1.wav=two a.wav=three empty.wav="
	if got := d.restored(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// What is removed here stays there.
	if err := os.RemoveAll(filepath.Join(d.dir, "2026")); err != nil {
		t.Fatal(err)
	}
	d.round(0)
	if got := d.restored(); got != want {
		t.Errorf("after a removal: %q, want %q", got, want)
	}
	d.write("2026/语音 1.wav", "two again")
	d.round(1)
}

func leftOut(t *testing.T, d *desk) {
	d.write("a.wav", "x")
	d.write(".hidden.wav", "x")
	d.write(".tmp/b.wav", "x")
	d.write("line\nbreak.wav", "x")
	at := func(name string) string { return filepath.Join(d.dir, name) }
	if err := errors.Join(os.Symlink("a.wav", at("link.wav")), os.Symlink("/etc/passwd", at("out.wav")), os.Symlink("/etc", at("etc")), syscall.Mkfifo(at("pipe"), 0o644)); err != nil {
		t.Fatal(err)
	}
	r := d.round(1)
	slices.Sort(r.Skipped)
	if want := []string{"etc", "line\nbreak.wav", "link.wav", "out.wav", "pipe"}; !slices.Equal(r.Skipped, want) {
		t.Errorf("skipped %q, want %q", r.Skipped, want)
	}
	if got := d.restored(); got != "a.wav=x" {
		t.Errorf("got %q", got)
	}
}

func stillWritten(t *testing.T, d *desk) {
	d.config.Settle = time.Hour
	d.restart()
	before := time.Now()
	d.write("a.wav", "ha")
	if r := d.round(0); r.Waiting != 1 || !r.Complete.Before(time.Now()) || r.Complete.Before(before.Add(-time.Second)) {
		t.Errorf("got %+v", r)
	}
	if r := d.round(0); r.Complete.After(before.Add(time.Second)) {
		t.Errorf("%+v says that a file that was written at %s has arrived", r, before)
	}
	d.config.Settle = time.Nanosecond
	d.restart()
	d.round(1)
}

func unreadable(t *testing.T, d *desk) {
	d.write("a.wav", "a")
	d.write("b.wav", "b")
	// A lease keeps even root from opening the file without waiting.
	holder, err := os.OpenFile(filepath.Join(d.dir, "a.wav"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if _, err := unix.FcntlInt(holder.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	r := d.Once(t.Context())
	if r.Err == nil || r.Sent != 1 || !strings.Contains(r.Err.Error(), "a.wav") || !r.Complete.Before(before) {
		t.Errorf("got %+v; want b.wav sent, and an error about a.wav", r)
	}
	if got := d.restored(); got != "b.wav=b" {
		t.Errorf("got %q", got)
	}
	holder.Close()
	d.round(1)
	if got := d.restored(); got != "a.wav=a b.wav=b" {
		t.Errorf("got %q", got)
	}
}

func anotherDirectory(t *testing.T, d *desk) {
	d.write("a.wav", "x")
	complete := d.round(1).Complete
	if err := errors.Join(os.Rename(d.dir, d.dir+"-unmounted"), os.Mkdir(d.dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	if r := d.Once(t.Context()); r.Err == nil || !r.Complete.IsZero() {
		t.Errorf("got %+v, want an error", r)
	}
	if got := d.restored(); got != "a.wav=x" {
		t.Errorf("got %q", got)
	}
	point, err := files.New(files.Config{Clients: d.server.Clients()}).Look(t.Context(), d.data, 1)
	if err != nil || point.At.After(complete) {
		t.Errorf("%+v, %v; the replica was complete up to %s", point, err, complete)
	}
	if err := os.RemoveAll(d.dir); err != nil {
		t.Fatal(err)
	}
	if _, err := files.NewSyncer(d.config); err == nil {
		t.Error("a directory that is missing: no error")
	}
}

func restart(t *testing.T, d *desk) {
	d.write("a.wav", "one")
	d.write("b.wav", "two")
	d.round(2)
	client, err := d.server.Clients().For(bucket)
	if err != nil {
		t.Fatal(err)
	}
	at, _ := s3client.ParseURL(replica.Prefix(d.data.Bucket, 1))
	stamp := func(name string) time.Time {
		out, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: aws.String(at.Key + "/" + name)})
		if err != nil || len(out.Contents) != 1 {
			t.Fatal(err)
		}
		return *out.Contents[0].LastModified
	}
	a, b := stamp("a.wav"), stamp("b.wav")
	d.write("b.wav", "2.0") // while nobody looked; of the same size
	d.restart()
	d.round(1)
	if stamp("a.wav") != a || stamp("b.wav") == b {
		t.Errorf("a.wav of %s is now of %s, b.wav of %s of %s; want only b.wav sent again", a, stamp("a.wav"), b, stamp("b.wav"))
	}
	if got := d.restored(); got != "a.wav=one b.wav=2.0" {
		t.Errorf("got %q", got)
	}
}

func theMarker(t *testing.T, d *desk) {
	r := files.New(files.Config{Clients: d.server.Clients()})
	if p, err := r.Look(t.Context(), d.data, 1); !errors.Is(err, replica.ErrNone) {
		t.Errorf("before the first round: %+v, %v; want ErrNone", p, err)
	}
	first := d.round(0)
	p, err := r.Look(t.Context(), d.data, 1)
	if err != nil || !p.At.Equal(first.Complete) || p.Items != 0 {
		t.Errorf("nothing written: %+v, %v; want %s", p, err, first.Complete)
	}
	d.write("a.wav", "x")
	second := d.round(1)
	p, err = r.Look(t.Context(), d.data, 1)
	if err != nil || !p.At.Equal(second.Complete) || p.Items != 1 || !second.Complete.After(first.Complete) {
		t.Errorf("one written: %+v, %v; want %s", p, err, second.Complete)
	}
	d.put(".understudy-synced", "strange")
	if p, err := r.Look(t.Context(), d.data, 1); !errors.Is(err, replica.ErrDamaged) {
		t.Errorf("a strange marker: %+v, %v; want ErrDamaged", p, err)
	}
}

func modificationTimes(t *testing.T, d *desk) {
	d.write("a.wav", "x")
	for _, when := range []time.Time{time.Date(2020, 1, 2, 3, 4, 5, 678901234, time.UTC), time.Now().AddDate(10, 0, 0).Truncate(time.Second)} {
		if err := os.Chtimes(filepath.Join(d.dir, "a.wav"), when, when); err != nil {
			t.Fatal(err)
		}
		d.round(1)
		r := files.New(files.Config{Clients: d.server.Clients(), State: t.TempDir()})
		point, err := r.Look(t.Context(), d.data, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Restore(t.Context(), "key", d.data, point); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(filepath.Join(d.data.Path, "a.wav")); err != nil || !info.ModTime().Equal(when) {
			t.Errorf("%v, %v; want it of %s", info.ModTime(), err, when)
		}
		if err := r.Remove(t.Context(), "key", d.data); err != nil {
			t.Fatal(err)
		}
	}
}

func otherTool(t *testing.T, d *desk) {
	before := time.Now()
	d.put("2026/", "")
	d.put("2026/a.wav", "one")
	if got := d.restored(); got != "2026/a.wav=one" {
		t.Errorf("got %q", got)
	}
	p, err := files.New(files.Config{Clients: d.server.Clients()}).Look(t.Context(), d.data, 1)
	if err != nil || p.Items != 1 || p.At.Before(before.Add(-2*time.Second)) || p.At.After(time.Now().Add(2*time.Second)) {
		t.Errorf("looked at %+v, %v", p, err)
	}
}

// MinIO refuses keys that other stores take.
func TestHostileKeys(t *testing.T) {
	t.Setenv("UNDERSTUDY_TEST_KEY", "key")
	for _, names := range [][]string{{"../up"}, {"a/../../up"}, {"a//b"}, {"/root"}, {"a/./b"}, {".."}, {"a", "a/b"}, {"a/b", "a"}} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			key := strings.TrimPrefix(r.URL.Path, "/"+bucket+"/")
			switch {
			case r.URL.Query().Has("list-type"):
				fmt.Fprint(w, "<ListBucketResult>")
				for _, name := range names {
					fmt.Fprintf(w, "<Contents><Key>x/epoch-1/%s</Key><Size>1</Size><ETag>e</ETag><LastModified>2026-11-21T00:00:00.000Z</LastModified></Contents>", name)
				}
				fmt.Fprint(w, "</ListBucketResult>")
			case strings.HasSuffix(key, ".understudy-synced"):
				w.WriteHeader(http.StatusNotFound)
				fmt.Fprint(w, "<Error><Code>NoSuchKey</Code></Error>")
			default:
				fmt.Fprint(w, "x")
			}
		}))
		key := runbooks.Secret{Env: "UNDERSTUDY_TEST_KEY"}
		clients := s3client.New(map[string]runbooks.S3{"default": {Endpoint: server.URL, PathStyle: true, AccessKey: key, SecretKey: key}})
		dir := t.TempDir()
		r := files.New(files.Config{Clients: clients, State: filepath.Join(dir, "state"), Parallel: 1})
		d := traits.Data("s3://"+bucket+"/x", filepath.Join(dir, "standby", "audio"))
		p, err := r.Look(t.Context(), d, 1)
		if err != nil || p.Items != len(names) {
			t.Fatalf("%q: %+v, %v", names, p, err)
		}
		if _, err := r.Restore(t.Context(), "key", d, p); !errors.Is(err, replica.ErrDamaged) {
			t.Errorf("%q: %v, want ErrDamaged", names, err)
		}
		left, _ := os.ReadDir(dir)
		if len(left) != 1 {
			t.Errorf("%q: left %v", names, left)
		}
		server.Close()
	}
}

func less(t *testing.T, d *desk) {
	d.write("a.wav", "x")
	d.round(1)
	r := files.New(files.Config{Clients: d.server.Clients(), State: t.TempDir()})
	p, err := r.Look(t.Context(), d.data, 1)
	if err != nil {
		t.Fatal(err)
	}
	more := p
	more.Items++
	later := p
	later.Position = time.Now().Add(time.Hour).Format(time.RFC3339Nano)
	for _, point := range []replica.Point{more, later} {
		if _, err := r.Restore(t.Context(), "key", d.data, point); !errors.Is(err, replica.ErrDamaged) {
			t.Errorf("%+v: %v, want ErrDamaged", point, err)
		}
	}
}
