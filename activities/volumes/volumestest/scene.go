package volumestest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
)

const (
	bucket      = "models"
	otherBucket = "one-model"
	farBucket   = "models-far"
)

// stage is what all tests of a suite share: two object stores.
type stage struct {
	Traits
	near, far *harness.MinIOServer
}

func newStage(t *testing.T, traits Traits) *stage {
	return &stage{Traits: traits, near: harnesstest.MinIO(t, bucket, otherBucket), far: harnesstest.MinIO(t, farBucket)}
}

// scene is one test, with a wire of its own to the near store.
type scene struct {
	*stage
	t    *testing.T
	wire *harness.Wire
	site runbooks.S3 // the near store, by the wire
	// dir holds what is mounted, state what the mounters remember.
	dir, state string
	volumes    int
}

func (s *stage) scene(t *testing.T) *scene {
	c := &scene{stage: s, t: t, dir: t.TempDir(), state: filepath.Join(t.TempDir(), "state"), site: s.near.Site()}
	var err error
	if c.wire, err = harness.NewWire(strings.TrimPrefix(s.near.Endpoint, "http://")); err != nil {
		t.Fatal(err)
	}
	c.site.Endpoint = "http://" + c.wire.Address
	t.Cleanup(func() { // a failed test must leave nothing either
		c.wire.Close()
		for _, pid := range c.processes() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		for _, mount := range c.mounts() {
			_ = syscall.Unmount(mount, syscall.MNT_DETACH)
		}
	})
	return c
}

func (s *scene) again(t *testing.T) *scene { return s.scene(t) }

func (s *stage) sites(near runbooks.S3) map[string]runbooks.S3 {
	far := s.far.Site()
	far.Buckets = []string{farBucket}
	return map[string]runbooks.S3{"default": near, "far": far}
}

func (s *scene) mounter() volumes.Provider { return s.mounterAt(s.site) }

func (s *scene) mounterAt(site runbooks.S3) volumes.Provider {
	return s.New(Config{Clients: s3client.New(s.sites(site)), State: s.state})
}

// file keeps a secret.
func (s *scene) file(secret string) runbooks.Secret {
	path := filepath.Join(s.t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return runbooks.Secret{File: path}
}

// volume uploads files with their manifest to a prefix of their own.
func (s *scene) volume(files map[string]string) runbooks.Volume {
	s.volumes++
	return s.volumeAt(fmt.Sprintf("s3://%s/%s/model-%d", bucket, strings.ReplaceAll(filepath.Base(filepath.Dir(s.dir)), "/", "-"), s.volumes), files)
}

func (s *scene) volumeAt(source string, files map[string]string) runbooks.Volume {
	v := runbooks.Volume{Source: source, Mount: filepath.Join(s.dir, "models", fmt.Sprint("Fun ASR-", s.volumes))}
	s.upload(v, files)
	return v
}

func (s *scene) upload(v runbooks.Volume, files map[string]string) {
	s.t.Helper()
	var lines []string
	var group sync.WaitGroup
	for name, content := range files {
		group.Go(func() { s.put(v, name, content) })
		lines = append(lines, sum(content)+"  "+name, fmt.Sprintf("# size %d %s", len(content), name))
	}
	group.Wait()
	slices.Sort(lines)
	s.put(v, "MANIFEST.sha256", strings.Join(lines, "\n")+"\n")
}

// direct is a client that the faults of the wire do not touch.
func (s *scene) direct(v runbooks.Volume) (*s3.Client, s3client.Location) {
	at, err := s3client.ParseURL(v.Source)
	if err != nil {
		s.t.Fatal(err)
	}
	client, err := s3client.New(s.sites(s.near.Site())).For(at.Bucket)
	if err != nil {
		s.t.Fatal(err)
	}
	return client, at
}

func (s *scene) put(v runbooks.Volume, name, content string) {
	s.t.Helper()
	client, at := s.direct(v)
	_, err := client.PutObject(context.WithoutCancel(s.t.Context()), &s3.PutObjectInput{
		Bucket: aws.String(at.Bucket), Key: aws.String(at.Join(name).Key), Body: strings.NewReader(content),
	})
	if err != nil {
		s.t.Error(err)
	}
}

// replace changes a file and its entry in the manifest.
func (s *scene) replace(v runbooks.Volume, name, content string) {
	s.t.Helper()
	files := map[string]string{}
	for n, c := range model {
		files[n] = c
	}
	files[name] = content
	s.upload(v, files)
}

func (s *scene) remove(v runbooks.Volume, name string) {
	s.t.Helper()
	client, at := s.direct(v)
	if _, err := client.DeleteObject(s.t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(at.Bucket), Key: aws.String(at.Join(name).Key)}); err != nil {
		s.t.Error(err)
	}
}

// many are enough files that a fault can come in the middle of them.
func (s *scene) many() map[string]string {
	files := map[string]string{"VERSION": "1"}
	for i := range 24 {
		files[fmt.Sprintf("part-%02d", i)] = noise(512 << 10)
	}
	return files
}

func (s *scene) stall() { s.wire.Stall() }

func (s *scene) heal() {
	if err := s.wire.Heal(); err != nil {
		s.t.Error(err)
	}
}

func sum(content string) string {
	s := sha256.Sum256([]byte(content))
	return hex.EncodeToString(s[:])
}

// flip changes one bit in the middle.
func flip(content string) string {
	b := []byte(content)
	b[len(b)/2] ^= 1
	return string(b)
}

// noise is content that no two files share.
func noise(size int) string {
	b := make([]byte, size)
	_, _ = rand.Read(b)
	return string(b)
}
