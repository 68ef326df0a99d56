package copy_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/holds"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/activities/volumes/copy"
	"github.com/understudy-dr/understudy/activities/volumes/volumestest"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
)

var traits = volumestest.Traits{How: "copy", Copies: true, New: func(c volumestest.Config) volumes.Provider {
	return copy.New(copy.Config{Clients: c.Clients, State: c.State, Part: 1 << 20})
}}

func TestMain(m *testing.M) { volumestest.Main(m, traits) }

func TestMounter(t *testing.T) { volumestest.Run(t, traits) }

const source = "s3://models/m"

// upload starts a store with a model of one file.
func upload(t *testing.T) *s3client.Clients {
	t.Helper()
	clients := harnesstest.MinIO(t, "models").Clients()
	client, err := clients.For("models")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"x": "x", "MANIFEST.sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881  x\n"} {
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("models"), Key: aws.String("m/" + name), Body: strings.NewReader(content)}); err != nil {
			t.Fatal(err)
		}
	}
	return clients
}

// A copy that is in its place, and of which it is not sure that all of it is on
// the disk, is hashed again, and fetched again where it is not right.
func TestACopyOfBefore(t *testing.T) {
	clients := upload(t)
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	m := copy.New(copy.Config{Clients: clients, State: state})
	v := runbooks.Volume{Source: source, Mount: filepath.Join(dir, "model"), Writable: true}
	file := filepath.Join(v.Mount, "x")
	for name, before := range map[string]func(*holds.Hold){
		"crashed before it was ready":  func(h *holds.Hold) { h.Ready = false },
		"another start of the machine": func(h *holds.Hold) { h.Boot = "another" },
	} {
		for _, damage := range []bool{false, true} {
			if _, err := m.Mount(t.Context(), "key", v, nil); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(v.Mount, "beside"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			change(t, state, before)
			if damage {
				if err := os.WriteFile(file, []byte{0}, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			identity := holds.Identify(v.Mount)
			if _, err := m.Mount(t.Context(), "key", v, nil); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if content, err := os.ReadFile(file); err != nil || string(content) != "x" {
				t.Errorf("%s: %q, %v", name, content, err)
			}
			if same := holds.Identify(v.Mount) == identity; same == damage {
				t.Errorf("%s: damaged %v, and kept %v", name, damage, same)
			}
			if err := m.Unmount(t.Context(), "key", v); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(v.Mount); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// change changes the only hold of a state.
func change(t *testing.T, state string, change func(*holds.Hold)) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(state, "*.json"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%q, %v", found, err)
	}
	content, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	var h holds.Hold
	if err := json.Unmarshal(content, &h); err != nil {
		t.Fatal(err)
	}
	change(&h)
	if content, err = json.Marshal(h); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(found[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestADiskThatIsTooSmall(t *testing.T) {
	m := copy.New(copy.Config{Clients: upload(t), State: filepath.Join(t.TempDir(), "state")})
	v := runbooks.Volume{Source: source, Mount: "/sys/model"} // a file system without a single free byte
	if _, err := m.Mount(t.Context(), "key", v, nil); !errors.Is(err, volumes.ErrRefused) || !strings.Contains(err.Error(), "MiB free") {
		t.Errorf("got %v, want ErrRefused that tells the free space", err)
	}
}
