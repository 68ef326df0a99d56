package boot_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/compute/boot"
	"github.com/understudy-dr/understudy/activities/secrets"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
)

// model is a small model directory; its manifest is added by files.
var model = map[string]string{"VERSION": "2512.1\n", "model.pt": strings.Repeat("weights ", 20000), "Qwen3 0.6B/config.json": "{}", "tokens.txt": "a\nb\n"}

// files adds the manifest to a directory, with sizes as Understudy writes them.
func files(dir map[string]string) map[string]string {
	all := maps.Clone(dir)
	var sizes, sums strings.Builder
	for _, name := range slices.Sorted(maps.Keys(dir)) {
		fmt.Fprintf(&sizes, "# size %d %s\n", len(dir[name]), name)
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256([]byte(dir[name])), name)
	}
	all["MANIFEST.sha256"] = "# a manifest\n" + sizes.String() + sums.String()
	return all
}

// host is a machine that boots, with the directories of this test in the place of its own.
type host struct {
	t    *testing.T
	root string
	path string
}

func newHost(t *testing.T, path string) *host {
	return &host{t: t, root: t.TempDir(), path: path}
}

// at is a path of the machine, which is below the test's directory.
func (h *host) at(path string) string { return filepath.Join(h.root, path) }

// boot runs the script with volumes.
func (h *host) boot(verb string, volumes ...boot.Volume) (string, []boot.Step) {
	h.t.Helper()
	return h.bootAs(verb, boot.Machine{Volumes: volumes})
}

// bootAs runs the script as the unit does, with the files that a document gives it.
func (h *host) bootAs(verb string, m boot.Machine) (string, []boot.Step) {
	h.t.Helper()
	for i := range m.Volumes {
		m.Volumes[i].Mount = h.at(m.Volumes[i].Mount)
	}
	for i := range m.Data {
		m.Data[i].Path = h.at(m.Data[i].Path)
	}
	_, c := render(h.t, m)
	if err := os.MkdirAll(h.at("etc"), 0o755); err != nil {
		h.t.Fatal(err)
	}
	for _, f := range c.Files {
		if name, ok := strings.CutPrefix(f.Path, "/etc/understudy/"); ok {
			if err := os.WriteFile(h.at("etc/"+name), []byte(f.Content), 0o600); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.t.Context()), time.Minute) // also while a test cleans up
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "boot.sh", verb)
	cmd.Env = []string{
		"PATH=" + h.path, "HOME=" + h.root, "UNDERSTUDY_ETC=" + h.at("etc"), "UNDERSTUDY_RUN=" + h.at("run"), "UNDERSTUDY_CACHE=" + h.at("cache"),
		"UNDERSTUDY_STATE=" + h.at("state"), "UNDERSTUDY_CONSOLE=/dev/null",
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	steps := boot.Steps(out.String())
	if _, failed := boot.Failed(steps); failed != (err != nil) {
		h.t.Errorf("it ends with %v, having said:\n%s", err, out.String())
	}
	return out.String(), steps
}

// content is a directory of the machine, by file.
func (h *host) content(path string) map[string]string {
	h.t.Helper()
	all := map[string]string{}
	root := os.DirFS(h.at(path))
	err := filepath.WalkDir(h.at(path), func(file string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(h.at(path), file)
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		var b bytes.Buffer
		_, err = b.ReadFrom(f)
		all[name] = b.String()
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return all
}

// store is a MinIO with a bucket of models.
func store(t *testing.T) (*harness.MinIOServer, boot.Store) {
	t.Helper()
	for program, from := range map[string]string{"s3fs": "s3fs", "mountpoint": "util-linux"} {
		if _, err := harness.Find(program, from); err != nil {
			t.Skipf("missing: %v", err)
		}
	}
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Geteuid() != 0 {
		t.Skip("missing: /dev/fuse, or root to mount with")
	}
	dir := t.TempDir()
	minio, err := harness.MinIO(t.Context(), dir)
	if err != nil {
		t.Skipf("missing: %v", err)
	}
	t.Cleanup(minio.Kill)
	if err := minio.CreateBucket(t.Context(), "models"); err != nil {
		t.Fatal(err)
	}
	id, err := secrets.Resolve(minio.AccessKey)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := secrets.Resolve(minio.SecretKey)
	if err != nil {
		t.Fatal(err)
	}
	login := filepath.Join(dir, "credentials")
	if err := os.WriteFile(login, fmt.Appendf(nil, "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", id, secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return minio, boot.Store{Endpoint: minio.Endpoint, Region: "us-east-1", PathStyle: true, Login: login}
}

func upload(t *testing.T, minio *harness.MinIOServer, prefix string, dir map[string]string) {
	t.Helper()
	client, err := minio.Clients().For("models")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range dir {
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("models"), Key: aws.String(prefix + "/" + name), Body: strings.NewReader(content)}); err != nil {
			t.Fatal(err)
		}
	}
}

// A machine brings its models from a real object store with a real s3fs; where
// the AWS tools are installed, with them too.
func TestVolumesAreBroughtAndProven(t *testing.T) {
	for name, path := range map[string]string{"s3fs": withoutTools(t, "s3fs", "fusermount"), "what is installed": os.Getenv("PATH")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bringAndProve(t, path)
		})
	}
}

func bringAndProve(t *testing.T, path string) {
	minio, where := store(t)
	upload(t, minio, "good one", files(model))
	h := newHost(t, path)
	volume := func(mode string, writable bool) boot.Volume {
		return boot.Volume{Volume: runbooks.Volume{Source: "s3://models/good one", Mount: "models/" + mode, Mode: mode, Writable: writable}, Store: where}
	}
	t.Cleanup(func() { h.boot("down", volume("mount", false)) })
	both := func() []boot.Volume { return []boot.Volume{volume("mount", false), volume("copy", true)} }
	said, steps := h.boot("up", both()...)
	var names []string
	for _, s := range steps {
		names = append(names, s.Name+" "+s.State)
	}
	want := "boot begin, mount begin, mount done, verify begin, verify done, mount begin, mount done, verify begin, verify done, boot done"
	if strings.Join(names, ", ") != want {
		t.Fatalf("it said:\n%s", said)
	}
	for _, mode := range []string{"mount", "copy"} {
		if got := h.content("models/" + mode); !maps.Equal(got, files(model)) {
			t.Errorf("%s: there is %v", mode, slices.Sorted(maps.Keys(got)))
		}
	}
	if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Count(string(mounts), h.root) != 1 {
		t.Errorf("mounts of this machine:\n%s, %v", mounts, err)
	}
	if err := os.WriteFile(h.at("models/mount/x"), nil, 0o600); err == nil {
		t.Error("the mount can be written to")
	}

	// The service writes beside its model; then the machine is stopped, and boots again.
	if err := os.WriteFile(h.at("models/copy/converted"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.boot("down", both()...)
	if said, _ = h.boot("up", both()...); !strings.Contains(said, "models/copy is here already") {
		t.Errorf("the second boot:\n%s", said)
	}
	if h.content("models/copy")["converted"] != "x" {
		t.Error("what the service wrote beside its model is gone")
	}

	// A newer model, and a copy that somebody has changed.
	newer := maps.Clone(model)
	newer["VERSION"] = "2512.2\n"
	upload(t, minio, "good one", files(newer))
	h.boot("up", volume("copy", true))
	if got := h.content("models/copy"); !maps.Equal(got, files(newer)) {
		t.Errorf("with a newer model in the store there is version %q", got["VERSION"])
	}
	if err := os.WriteFile(h.at("models/copy/model.pt"), []byte(strings.Repeat("Weights ", 20000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, _ := h.boot("up", volume("copy", true)); !strings.Contains(said, "verify failed") {
		t.Errorf("a copy that was changed is used:\n%s", said)
	}
	if err := os.WriteFile(h.at("models/copy/model.pt"), []byte(newer["model.pt"]), 0o600); err != nil {
		t.Fatal(err)
	}

	// What is here, and proven, serves also while the store is away.
	minio.Kill()
	if said, steps := h.boot("up", volume("copy", true)); !slices.Contains(steps, boot.Step{Name: "verify", State: "done", Detail: h.at("models/copy")}) {
		t.Errorf("without the store, what is here and proven is not used; it said:\n%s", said)
	}
}

// What a machine cannot have, it says, and leaves nothing behind.
func TestAStoreThatIsAway(t *testing.T) {
	_, where := store(t)
	where.Endpoint = "http://" + harness.Address(harness.FreePort())
	for _, mode := range []string{"mount", "copy"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, withoutTools(t, "s3fs", "fusermount"))
			said, steps := h.boot("up", boot.Volume{Volume: runbooks.Volume{Source: "s3://models/x", Mount: "model", Mode: mode}, Store: where})
			if step, failed := boot.Failed(steps); !failed || step.Name != "mount" {
				t.Errorf("it said:\n%s", said)
			}
			if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(mounts), h.root) {
				t.Errorf("mounts that are left:\n%s, %v", mounts, err)
			}
		})
	}
}

func TestWrongVolumesAreRefused(t *testing.T) {
	t.Parallel()
	minio, where := store(t)
	change := func(f func(dir map[string]string)) map[string]string {
		dir := files(model)
		f(dir)
		return dir
	}
	flipped := strings.Replace(model["model.pt"], "weights", "Weights", 1)
	for name, c := range map[string]struct {
		dir  map[string]string
		said string
	}{
		"a flipped byte": {change(func(d map[string]string) { d["model.pt"] = flipped }),
			fmt.Sprintf("model.pt has sha256 %x, the manifest says %x", sha256.Sum256([]byte(flipped)), sha256.Sum256([]byte(model["model.pt"])))},
		"a short file":         {change(func(d map[string]string) { d["model.pt"] = "w" }), fmt.Sprintf("model.pt has 1 bytes, the manifest says %d", len(model["model.pt"]))},
		"a missing file":       {change(func(d map[string]string) { delete(d, "Qwen3 0.6B/config.json") }), "Qwen3 0.6B/config.json is missing"},
		"an extra version":     {change(func(d map[string]string) { d["old/VERSION"] = "1" }), "old/VERSION is in no manifest"},
		"an empty VERSION":     {files(map[string]string{"VERSION": "\n", "model.pt": "x"}), "VERSION is empty"},
		"no manifest":          {model, "it has no MANIFEST.sha256"},
		"an empty manifest":    {change(func(d map[string]string) { d["MANIFEST.sha256"] = "# nothing\n" }), "MANIFEST.sha256 lists nothing"},
		"a way out":            {change(func(d map[string]string) { d["MANIFEST.sha256"] += strings.Repeat("0", 64) + "  ../../etc/passwd\n" }), "../../etc/passwd is missing"},
		"nothing at all there": {map[string]string{}, "it has no MANIFEST.sha256"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prefix := strings.ReplaceAll(name, " ", "-")
			upload(t, minio, prefix, c.dir)
			for _, mode := range []string{"mount", "copy"} {
				h := newHost(t, withoutTools(t, "s3fs", "fusermount"))
				v := func() boot.Volume {
					return boot.Volume{Volume: runbooks.Volume{Source: "s3://models/" + prefix, Mount: "model", Mode: mode}, Store: where}
				}
				said, steps := h.boot("up", v())
				if step, failed := boot.Failed(steps); !failed || !strings.Contains(step.Detail, c.said) && len(c.dir) > 0 {
					t.Errorf("%s: it said:\n%s", mode, said)
				}
				if _, err := os.Stat(h.at("model")); mode == "copy" && err == nil {
					t.Error("a copy that is wrong stands where the service looks for it")
				}
				h.boot("down", v())
			}
		})
	}
}

// With verify: size a machine starts at once and reads every byte later.
func TestHashesComeLater(t *testing.T) {
	t.Parallel()
	minio, where := store(t)
	dir := files(model)
	dir["model.pt"] = strings.Replace(dir["model.pt"], "weights", "Weights", 1)
	upload(t, minio, "flipped", dir)
	h := newHost(t, withoutTools(t, "s3fs", "fusermount"))
	v := func() boot.Volume {
		return boot.Volume{Volume: runbooks.Volume{Source: "s3://models/flipped", Mount: "model", Verify: "size"}, Store: where}
	}
	t.Cleanup(func() { h.boot("down", v()) })
	if said, _ := h.boot("up", v()); !strings.Contains(said, "boot done") {
		t.Errorf("at first it said:\n%s", said)
	}
	if said, _ := h.boot("hash", v()); !strings.Contains(said, "step verify failed") || !strings.Contains(said, "model.pt has sha256") {
		t.Errorf("later it said:\n%s", said)
	}
}

// What lies where a copy should go, and is none, is not touched.
func TestOtherThingsAreNotReplaced(t *testing.T) {
	t.Parallel()
	minio, where := store(t)
	upload(t, minio, "good", files(model))
	h := newHost(t, withoutTools(t, "s3fs", "fusermount"))
	if err := os.MkdirAll(h.at("model"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.at("model/mine"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	said, _ := h.boot("up", boot.Volume{Volume: runbooks.Volume{Source: "s3://models/good", Mount: "model", Mode: "copy"}, Store: where})
	if !strings.Contains(said, "something else lies there") || h.content("model")["mine"] != "x" {
		t.Errorf("it said:\n%s", said)
	}
}

// The AWS tools are not at hand here; what they are told is compared with what
// their manuals say.
func TestToolsOfAWS(t *testing.T) {
	bucket := t.TempDir()
	for name, content := range files(model) {
		file := filepath.Join(bucket, "models/asr", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for tool, c := range map[string]struct {
		stubs map[string]string
		want  string
	}{
		"aws": {
			map[string]string{"aws": `echo "aws $*" >>"$HOME/calls"
case "$1 $2" in
"s3 sync") from=${3#s3://}; cp -r "$BUCKET/$from/." "$4/" ;;
"s3 cp") from=${3#s3://}; cat "$BUCKET/$from" ;;
*) exit 2 ;;
esac`, "mountpoint": "exit 1"},
			"aws s3 sync s3://models/asr MODEL.new --cli-connect-timeout 5 --cli-read-timeout 20 --only-show-errors --region us-west-2 --no-sign-request\n" +
				"aws s3 cp s3://models/asr/MANIFEST.sha256 - --cli-connect-timeout 5 --cli-read-timeout 20 --region us-west-2 --no-sign-request\n",
		},
		"mount-s3": {
			map[string]string{"mount-s3": `echo "mount-s3 $*" >>"$HOME/calls"
for last; do before=$this; this=$last; done
cp -r "$BUCKET/$before/asr/." "$this/"
touch "$this.mounted"`, "mountpoint": `[ -e "$2.mounted" ]`, "umount": `rm "$1.mounted"`},
			"mount-s3 --read-only --allow-other --metadata-ttl indefinite --region us-west-2 --prefix asr/ --cache CACHE/1 --no-sign-request models MODEL\n",
		},
	} {
		t.Run(tool, func(t *testing.T) {
			h := newHost(t, "")
			bin := filepath.Join(h.root, "bin")
			if err := os.MkdirAll(bin, 0o755); err != nil {
				t.Fatal(err)
			}
			for name, text := range c.stubs {
				if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\nBUCKET="+bucket+"\n"+text+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			h.path = bin + ":" + withoutTools(t)
			mode := map[string]string{"aws": "copy", "mount-s3": "mount"}[tool]
			v := func() boot.Volume {
				return boot.Volume{Volume: runbooks.Volume{Source: "s3://models/asr", Mount: "model", Mode: mode}, Store: boot.Store{Region: "us-west-2", Login: boot.Anonymous}}
			}
			for range 2 {
				if said, _ := h.boot("up", v()); !strings.Contains(said, "boot done") {
					t.Fatalf("it said:\n%s", said)
				}
			}
			if got := h.content("model"); !maps.Equal(got, files(model)) {
				t.Errorf("there is %v", slices.Sorted(maps.Keys(got)))
			}
			calls := h.content(".")["calls"]
			if want := strings.NewReplacer("MODEL", h.at("model"), "CACHE", h.at("cache")).Replace(c.want); calls != want {
				t.Errorf("called:\n%s\nwant:\n%s", calls, want)
			}
		})
	}
	h := newHost(t, withoutTools(t))
	said, _ := h.boot("up", boot.Volume{Volume: runbooks.Volume{Source: "s3://models/asr", Mount: "model"}})
	if !strings.Contains(said, "the image has neither mount-s3 nor s3fs") {
		t.Errorf("without tools it said:\n%s", said)
	}
}

// withoutTools is a directory with the programs of every Debian image, and none that reaches S3
// but those that are named.
func withoutTools(t *testing.T, but ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range append(but, strings.Fields("sh mkdir rm mv cp cat cmp sed grep sort comm head cut find xargs stat sha256sum awk timeout touch ls chown umount mountpoint dirname rmdir")...) {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
