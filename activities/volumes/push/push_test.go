package push_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/activities/volumes/copy"
	"github.com/understudy-dr/understudy/activities/volumes/push"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
)

const bucket = "models"

// desk is a model directory and a bucket.
type desk struct {
	t       *testing.T
	clients *s3client.Clients
	dir     string
	to      string
}

func (d *desk) write(name, content string) {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) push(change func(*push.Config)) (push.Result, error) {
	c := push.Config{Clients: d.clients, Dir: d.dir, To: d.to, Part: 5 << 20}
	if change != nil {
		change(&c)
	}
	return push.Push(d.t.Context(), c)
}

func (d *desk) mustPush(want push.Result) {
	d.t.Helper()
	want.At = d.to
	if got, err := d.push(nil); err != nil || got != want {
		d.t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

// keys lists the prefix.
func (d *desk) keys() string {
	d.t.Helper()
	client, _ := d.clients.For(bucket)
	at, _ := s3client.ParseURL(d.to)
	out, err := client.ListObjectsV2(context.WithoutCancel(d.t.Context()), &s3.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: aws.String(at.Key + "/")})
	if err != nil {
		d.t.Fatal(err)
	}
	var names []string
	for _, o := range out.Contents {
		names = append(names, strings.TrimPrefix(*o.Key, at.Key+"/"))
	}
	return strings.Join(names, " ")
}

func (d *desk) put(name, content string) {
	d.t.Helper()
	client, _ := d.clients.For(bucket)
	at, _ := s3client.ParseURL(d.to)
	if _, err := client.PutObject(d.t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(at.Join(name).Key), Body: strings.NewReader(content)}); err != nil {
		d.t.Fatal(err)
	}
}

// mounts brings what was pushed back, fully verified.
func (d *desk) mounts() {
	d.t.Helper()
	v := runbooks.Volume{Source: d.to, Mount: filepath.Join(d.t.TempDir(), "model"), Verify: "full"}
	m := copy.New(copy.Config{Clients: d.clients, State: d.t.TempDir()})
	if _, err := m.Mount(d.t.Context(), "key", v, nil); err != nil {
		d.t.Errorf("what was pushed cannot be mounted: %v", err)
		return
	}
	if out, err := exec.Command("diff", "-r", "--exclude=MANIFEST.sha256", d.dir, v.Mount).CombinedOutput(); err != nil {
		d.t.Errorf("%v: %s", err, out)
	}
	check := exec.Command("sha256sum", "--check", "--strict", "--quiet", "MANIFEST.sha256")
	check.Dir = v.Mount
	if out, err := check.CombinedOutput(); err != nil {
		d.t.Errorf("sha256sum: %v: %s", err, out)
	}
}

func TestPush(t *testing.T) {
	server := harnesstest.MinIO(t, bucket)
	desks := 0
	begin := func(t *testing.T) *desk {
		desks++
		d := &desk{t: t, clients: server.Clients(), dir: t.TempDir(), to: "s3://" + bucket + "/model-" + string(rune('a'+desks))}
		d.write("VERSION", "2512.1\n")
		d.write("Qwen3-0.6B/config.json", "{}")
		return d
	}

	t.Run("first and again", func(t *testing.T) {
		d := begin(t)
		large := make([]byte, 17<<20+3)
		_, _ = rand.Read(large)
		d.write("model.pt", string(large))
		d.write("empty", "")
		steps := map[push.Step]volumes.Progress{}
		got, err := d.push(func(c *push.Config) { c.Tell = func(s push.Step, p volumes.Progress) { steps[s] = p } })
		size := int64(len(large) + 7 + 2)
		if want := (push.Result{At: d.to, Version: "2512.1", Files: 4, Bytes: size, Uploaded: 4}); err != nil || got != want {
			t.Fatalf("got %+v, %v; want %+v", got, err, want)
		}
		for _, step := range []push.Step{push.Hashing, push.Uploading} {
			if p := steps[step]; p.Done != size || p.Total != size {
				t.Errorf("%s ended at %+v of %d", step, p, size)
			}
		}
		d.mounts()
		d.mustPush(push.Result{Version: "2512.1", Files: 4, Bytes: size, Skipped: 4})
		if _, err := os.Stat(filepath.Join(d.dir, "MANIFEST.sha256")); err == nil {
			t.Error("a manifest was written into the directory")
		}
	})

	t.Run("broken off", func(t *testing.T) {
		d := begin(t)
		for i := range 20 {
			d.write("part-"+string(rune('a'+i)), strings.Repeat(string(rune('a'+i)), 1<<20))
		}
		wire, err := harness.NewWire(strings.TrimPrefix(server.Endpoint, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer wire.Close()
		site := server.Site()
		site.Endpoint = "http://" + wire.Address
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, err = push.Push(ctx, push.Config{Clients: s3client.New(map[string]runbooks.S3{"default": site}), Dir: d.dir, To: d.to, Tell: func(s push.Step, _ volumes.Progress) {
			if s == push.Uploading {
				wire.Stall()
				time.AfterFunc(100*time.Millisecond, cancel)
			}
		}})
		if !errors.Is(err, volumes.ErrUnavailable) && !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if keys := d.keys(); strings.Contains(keys, "MANIFEST") || keys == "" {
			t.Errorf("the bucket holds %q; want some files and no manifest", keys)
		}
		got, err := d.push(nil)
		if err != nil || got.Skipped == 0 || got.Uploaded == 0 || got.Skipped+got.Uploaded != 22 {
			t.Errorf("the next try: %+v, %v", got, err)
		}
		d.mounts()
	})

	t.Run("another model is there", func(t *testing.T) {
		d := begin(t)
		d.mustPush(push.Result{Version: "2512.1", Files: 2, Bytes: 9, Uploaded: 2})
		d.write("VERSION", "2601.0\n")
		d.write("new.json", "{}")
		before := d.keys()
		if _, err := d.push(nil); !errors.Is(err, volumes.ErrRefused) {
			t.Errorf("got %v, want ErrRefused", err)
		}
		if err := os.RemoveAll(filepath.Join(d.dir, "Qwen3-0.6B")); err != nil {
			t.Fatal(err)
		}
		if got := d.keys(); got != before {
			t.Errorf("the bucket changed: %q", got)
		}
		got, err := d.push(func(c *push.Config) { c.Replace = true })
		if want := (push.Result{At: d.to, Version: "2601.0", Files: 2, Bytes: 9, Uploaded: 2, Removed: 1}); err != nil || got != want {
			t.Errorf("replace: %+v, %v; want %+v", got, err, want)
		}
		d.mounts()
	})

	t.Run("strange objects are there", func(t *testing.T) {
		d := begin(t)
		d.put("strange.bin", "x")
		if _, err := d.push(nil); !errors.Is(err, volumes.ErrRefused) || !strings.Contains(err.Error(), "strange.bin") {
			t.Errorf("got %v, want ErrRefused that names it", err)
		}
		if got := d.keys(); got != "strange.bin" {
			t.Errorf("the bucket changed: %q", got)
		}
	})

	t.Run("damaged in the bucket", func(t *testing.T) {
		d := begin(t)
		d.mustPush(push.Result{Version: "2512.1", Files: 2, Bytes: 9, Uploaded: 2})
		d.put("Qwen3-0.6B/config.json", "[]")
		d.mustPush(push.Result{Version: "2512.1", Files: 2, Bytes: 9, Uploaded: 1, Skipped: 1})
		d.mounts()
		d.put("MANIFEST.sha256", "damaged")
		if _, err := d.push(nil); !errors.Is(err, volumes.ErrRefused) {
			t.Errorf("got %v, want ErrRefused", err)
		}
		if _, err := d.push(func(c *push.Config) { c.Replace = true }); err != nil {
			t.Error(err)
		}
		d.mounts()
	})

	t.Run("directories that are no model", func(t *testing.T) {
		for name, change := range map[string]func(*desk){
			"empty version": func(d *desk) { d.write("VERSION", "") },
			"link that leads out": func(d *desk) {
				if err := os.Symlink("/etc/hostname", filepath.Join(d.dir, "link")); err != nil {
					t.Fatal(err)
				}
			},
			"link to nowhere": func(d *desk) {
				if err := os.Symlink("nowhere", filepath.Join(d.dir, "link")); err != nil {
					t.Fatal(err)
				}
			},
			"pipe": func(d *desk) {
				if out, err := exec.Command("mkfifo", filepath.Join(d.dir, "pipe")).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			},
			"name with a line break": func(d *desk) { d.write("a\nb", "x") },
			"own manifest disagrees": func(d *desk) { d.write("MANIFEST.sha256", strings.Repeat("0", 64)+"  VERSION\n") },
			"own manifest, other hash": func(d *desk) {
				d.write("MANIFEST.sha256", strings.Repeat("0", 64)+"  VERSION\n"+strings.Repeat("0", 64)+"  Qwen3-0.6B/config.json\n")
			},
		} {
			d := begin(t)
			change(d)
			if _, err := d.push(nil); !errors.Is(err, volumes.ErrWrong) {
				t.Errorf("%s: %v, want ErrWrong", name, err)
			}
			if got := d.keys(); got != "" {
				t.Errorf("%s: the bucket holds %q", name, got)
			}
		}
	})

	t.Run("links that stay inside, and a manifest that agrees", func(t *testing.T) {
		d := begin(t)
		if err := os.Symlink("../VERSION", filepath.Join(d.dir, "Qwen3-0.6B", "link")); err != nil {
			t.Fatal(err)
		}
		sums := exec.Command("sh", "-c", "sha256sum VERSION Qwen3-0.6B/config.json Qwen3-0.6B/link")
		sums.Dir = d.dir
		out, err := sums.Output()
		if err != nil {
			t.Fatal(err)
		}
		d.write("MANIFEST.sha256", string(out))
		d.mustPush(push.Result{Version: "2512.1", Files: 3, Bytes: 16, Uploaded: 3})
		d.mounts()
	})

	t.Run("a file that grows while it is uploaded", func(t *testing.T) {
		d := begin(t)
		d.write("model.pt", strings.Repeat("x", 6<<20))
		_, err := d.push(func(c *push.Config) {
			c.Tell = func(s push.Step, p volumes.Progress) {
				if s == push.Hashing && p.Done == p.Total {
					d.write("model.pt", strings.Repeat("y", 6<<20))
				}
			}
		})
		if !errors.Is(err, volumes.ErrWrong) || !strings.Contains(err.Error(), "model.pt") {
			t.Errorf("got %v, want ErrWrong that names it", err)
		}
		if strings.Contains(d.keys(), "model.pt") || strings.Contains(d.keys(), "MANIFEST") {
			t.Errorf("the bucket holds %q", d.keys())
		}
	})

	t.Run("orders that make no sense", func(t *testing.T) {
		for name, change := range map[string]func(*push.Config){
			"no directory":        func(c *push.Config) { c.Dir = "/nowhere" },
			"no URL":              func(c *push.Config) { c.To = "models/x" },
			"no bucket":           func(c *push.Config) { c.To = "s3://absent-bucket/x" },
			"manifest leads out":  func(c *push.Config) { c.Manifest = "../m" },
			"directory is a file": func(c *push.Config) { c.Dir = "/etc/hostname" },
		} {
			if _, err := begin(t).push(change); !errors.Is(err, volumes.ErrRefused) {
				t.Errorf("%s: %v, want ErrRefused", name, err)
			}
		}
	})
}

func TestANameOfTheManifest(t *testing.T) {
	server := harnesstest.MinIO(t, bucket)
	d := &desk{t: t, clients: server.Clients(), dir: t.TempDir(), to: "s3://" + bucket + "/m"}
	d.write("a", "x")
	if _, err := d.push(func(c *push.Config) { c.Manifest = "sums.txt" }); err != nil {
		t.Fatal(err)
	}
	if got := d.keys(); got != "a sums.txt" {
		t.Errorf("the bucket holds %q", got)
	}
	client, _ := d.clients.For(bucket)
	out, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String("m/sums.txt")})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(out.Body); err != nil {
		t.Fatal(err)
	}
	if want := "# size 1 a\n2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881  a\n"; !strings.HasSuffix(text.String(), want) {
		t.Errorf("got %q, want it to end with %q", text.String(), want)
	}
}
