package s3fs_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/activities/volumes/s3fs"
	"github.com/understudy-dr/understudy/activities/volumes/volumestest"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
)

var traits = volumestest.Traits{How: "s3fs", New: func(c volumestest.Config) volumes.Provider {
	return s3fs.New(s3fs.Config{Clients: c.Clients, State: c.State})
}}

func TestMain(m *testing.M) { volumestest.Main(m, traits) }

func TestMounter(t *testing.T) {
	if _, err := exec.LookPath("s3fs"); err != nil {
		t.Skip("missing: s3fs; apt-get install s3fs")
	}
	volumestest.Run(t, traits)
}

func TestProgramsThatDoNotMount(t *testing.T) {
	server := harnesstest.MinIO(t, "models")
	client, err := server.Clients().For("models")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"x": "x", "MANIFEST.sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881  x\n"} {
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("models"), Key: aws.String("m/" + name), Body: strings.NewReader(content)}); err != nil {
			t.Fatal(err)
		}
	}
	script := filepath.Join(t.TempDir(), "s3fs")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho 'it is Monday' >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for program, want := range map[string]struct {
		kind error
		says string
	}{
		"no-such-program": {volumes.ErrRefused, "not installed"},
		"/nowhere/s3fs":   {volumes.ErrRefused, "not installed"},
		"/etc/hostname":   {nil, ""},
		script:            {volumes.ErrUnavailable, "it is Monday"},
		"/bin/true":       {volumes.ErrUnavailable, "ended by itself"},
	} {
		dir := t.TempDir()
		m := s3fs.New(s3fs.Config{Clients: server.Clients(), State: filepath.Join(dir, "state"), Program: program})
		v := runbooks.Volume{Source: "s3://models/m", Mount: filepath.Join(dir, "a", "model")}
		_, err := m.Mount(t.Context(), "key", v, nil)
		if err == nil || (want.kind != nil && !errors.Is(err, want.kind)) || !strings.Contains(err.Error(), want.says) {
			t.Errorf("%s: %v, want %v that says %q", program, err, want.kind, want.says)
		}
		if _, err := os.Stat(filepath.Join(dir, "a")); err == nil {
			t.Errorf("%s: a directory is left", program)
		}
	}
}
