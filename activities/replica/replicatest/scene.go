package replicatest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
)

const (
	bucket = "history"
	// manyItems are so many that a restore has a middle; it is reached after so many bytes.
	manyItems = 60
	middle    = 512 << 10
	// itemSize is what an item holds beside its name, in bytes that do not compress.
	itemSize = 32 << 10
	// awaitTimeout is generous: machines that run tests are often busy.
	awaitTimeout = 60 * time.Second
)

// stage is what all tests of a suite share.
type stage struct {
	Traits
	near   *harness.MinIOServer
	scenes atomic.Int32
	items  atomic.Int64
}

func newStage(t *testing.T, traits Traits) *stage {
	return &stage{Traits: traits, near: harnesstest.MinIO(t, bucket)}
}

// scene is one test, with a wire of its own to the store.
type scene struct {
	*stage
	t          *testing.T
	dir, state string
	url        string
	wire       *harness.Wire
	site       runbooks.S3
	// data is where the standby restores.
	data runbooks.Data
}

func (s *stage) scene(t *testing.T) *scene {
	t.Helper()
	c := &scene{stage: s, t: t, dir: t.TempDir(), site: s.near.Site()}
	c.state = filepath.Join(c.dir, "state")
	c.url = fmt.Sprintf("s3://%s/service-%d", bucket, s.scenes.Add(1))
	c.data = s.Data(c.url, filepath.Join(c.dir, "standby 1%", "data"))
	var err error
	if c.wire, err = harness.NewWire(strings.TrimPrefix(s.near.Endpoint, "http://")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.wire.Close)
	c.site.Endpoint = "http://" + c.wire.Address
	return c
}

func (s *scene) replica() replica.Replica {
	return s.New(Config{Clients: s3client.New(map[string]runbooks.S3{"default": s.site}), State: s.state})
}

func (s *scene) heal() {
	if err := s.wire.Heal(); err != nil {
		s.t.Error(err)
	}
}

// writer starts a service with data of its own.
func (s *scene) writer(name string, epoch int64) Writer {
	s.t.Helper()
	return s.Write(s.t, s.near.Site(), s.Data(s.url, filepath.Join(s.dir, name, "data")), epoch)
}

// write writes items, whose names tell when they were begun.
func (s *scene) write(w Writer, count int) []string {
	var items []string
	for range count {
		item := fmt.Sprintf("item-%04d-%d", s.items.Add(1), time.Now().UnixNano())
		w.Write(item)
		items = append(items, item)
	}
	return items
}

func writtenAt(t *testing.T, item string) time.Time {
	t.Helper()
	nanos, err := strconv.ParseInt(item[strings.LastIndexByte(item, '-')+1:], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(0, nanos)
}

// await waits until items have arrived in the replica of an epoch: until a
// restore brings them.
func (s *scene) await(epoch int64, items []string) replica.Point {
	s.t.Helper()
	look := s.New(Config{Clients: s.near.Clients(), State: filepath.Join(s.t.TempDir(), "state")})
	scratch := s.Data(s.url, filepath.Join(s.t.TempDir(), "data"))
	var last error
	for deadline := time.Now().Add(awaitTimeout); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		point, err := look.Look(s.t.Context(), scratch, epoch)
		var restored replica.Restored
		if err == nil {
			restored, err = look.Restore(s.t.Context(), "scratch", scratch, point)
		}
		if last = err; err != nil {
			continue
		}
		got := s.Read(s.t, scratch.Path)
		if err := look.Remove(s.t.Context(), "scratch", scratch); err != nil {
			s.t.Fatal(err)
		}
		if restored.Position == point.Position && !slices.ContainsFunc(items, func(item string) bool { return !slices.Contains(got, item) }) {
			return point
		}
	}
	s.t.Fatalf("epoch %d is not replicated: %v", epoch, last)
	return replica.Point{}
}

// clean checks that nothing is left of the standby's data.
func (s *scene) clean() {
	s.t.Helper()
	entries, _ := os.ReadDir(filepath.Dir(s.data.Path))
	for _, e := range entries {
		s.t.Errorf("left: %s", e.Name())
	}
	left, _ := os.ReadDir(s.state)
	for _, e := range left {
		if filepath.Ext(e.Name()) != ".lock" {
			s.t.Errorf("left in the state: %s", e.Name())
		}
	}
	if processes := s.processes(); len(processes) > 0 {
		s.t.Errorf("still running: %v", processes)
	}
}

// processes lists other processes that work in the state or on the standby's data.
func (s *scene) processes() []int {
	var found []int
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		line, _ := os.ReadFile(path)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if pid != os.Getpid() && bytes.Contains(line, []byte(s.state)) {
			found = append(found, pid)
		}
	}
	return found
}

func (s *scene) client() (*s3.Client, s3client.Location) {
	client, err := s.near.Clients().For(bucket)
	if err != nil {
		s.t.Fatal(err)
	}
	at, err := s3client.ParseURL(s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	return client, at
}

func (s *scene) put(name, content string) {
	s.t.Helper()
	client, at := s.client()
	if _, err := client.PutObject(s.t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(at.Join(name).Key), Body: strings.NewReader(content)}); err != nil {
		s.t.Fatal(err)
	}
}

// change changes the content of the largest object of an epoch, with its
// metadata kept, and returns what sets it right again.
func (s *scene) change(epoch int64, change func(string) string) (restore func()) {
	s.t.Helper()
	client, at := s.client()
	out, err := client.ListObjectsV2(s.t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: aws.String(at.Join(fmt.Sprintf("epoch-%d/", epoch)).Key)})
	if err != nil || len(out.Contents) == 0 {
		s.t.Fatalf("%d objects, %v", len(out.Contents), err)
	}
	key := slices.MaxFunc(out.Contents, func(a, b types.Object) int { return int(*a.Size - *b.Size) }).Key
	got, err := client.GetObject(s.t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: key})
	if err != nil {
		s.t.Fatal(err)
	}
	defer got.Body.Close()
	content, err := io.ReadAll(got.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	put := func(content string) {
		if _, err := client.PutObject(s.t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: key, Body: strings.NewReader(content), Metadata: got.Metadata}); err != nil {
			s.t.Fatal(err)
		}
	}
	put(change(string(content)))
	return func() { put(string(content)) }
}

// flip changes one bit in the middle.
func flip(content string) string {
	b := []byte(content)
	b[len(b)/2] ^= 1
	return string(b)
}

// childVariable holds the task of a process that the suite starts in order to kill it.
const childVariable = "UNDERSTUDY_REPLICATEST_CHILD"

type task struct {
	Site  runbooks.S3
	State string
	Key   string
	Data  runbooks.Data
	Point replica.Point
}

// Main runs the tests of a package, or, in a process that the suite started,
// restores until it is killed.
func Main(m *testing.M, traits Traits) {
	text := os.Getenv(childVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	var do task
	err := json.Unmarshal([]byte(text), &do)
	if err == nil {
		r := traits.New(Config{Clients: s3client.New(map[string]runbooks.S3{"default": do.Site}), State: do.State})
		_, err = r.Restore(context.Background(), do.Key, do.Data, do.Point)
	}
	fmt.Fprintln(os.Stderr, "restored:", err)
	os.Exit(1)
}

// dieInTheMiddle kills a process that restores, when a part of the data has arrived.
func (s *scene) dieInTheMiddle(key string, p replica.Point) {
	s.t.Helper()
	text, err := json.Marshal(task{Site: s.site, State: s.state, Key: key, Data: s.data, Point: p})
	if err != nil {
		s.t.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"="+string(text))
	var said bytes.Buffer
	child.Stderr = &said
	stalled := s.wire.StallAfter(middle)
	if err := child.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	select {
	case <-stalled:
	case err := <-ended:
		s.t.Fatalf("it ended before it was killed: %v: %s", err, said.String())
	}
	_ = child.Process.Signal(syscall.SIGKILL)
	<-ended
	for deadline := time.Now().Add(awaitTimeout); len(s.processes()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("it left processes %v", s.processes())
		}
	}
	s.heal()
}
