package audio_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/jobs/audio"
	"github.com/understudy-dr/understudy/activities/jobs/jobstest"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/runbooks"
)

func TestFiles(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(outside, "secret.wav")
	must(os.WriteFile(secret, []byte("secret"), 0o644))
	for name, size := range map[string]int{"a.wav": 10, "语音 1.wav": 5, "large.wav": 101} {
		must(os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte("x"), size), 0o644))
	}
	must(os.Mkdir(filepath.Join(dir, "folder"), 0o755))
	must(os.Symlink(secret, filepath.Join(dir, "out.wav")))
	must(os.Symlink(outside, filepath.Join(dir, "far")))
	must(os.Symlink(filepath.Join(dir, "a.wav"), filepath.Join(dir, "in.wav")))
	must(syscall.Mkfifo(filepath.Join(dir, "pipe.wav"), 0o644))
	link := filepath.Join(t.TempDir(), "root")
	must(os.Symlink(dir, link))
	o := audio.New(audio.Options{Roots: []string{dir, link}, MaxBytes: 100, Dir: t.TempDir()})
	for name, want := range map[string]any{
		dir + "/a.wav":                   int64(10),
		dir + "/语音 1.wav":                int64(5),
		dir + "/in.wav":                  int64(10),
		link + "/a.wav":                  int64(10),
		dir + "/absent.wav":              "no such file",
		dir + "/folder":                  "no regular file",
		dir + "/pipe.wav":                "no regular file",
		dir + "/large.wav":               "101 bytes",
		dir + "/out.wav":                 "outside",
		dir + "/far/secret.wav":          "outside",
		dir + "/../secret.wav":           "outside",
		dir + "/folder/../../secret.wav": "outside",
		secret:                           "outside",
		dir + "x/a.wav":                  "outside",
		"a.wav":                          "outside",
		"s3://audio/a.wav":               "outside",
		dir + "/a.wav/b.wav":             "no such file",
	} {
		file, err := o.Open(t.Context(), name)
		switch want := want.(type) {
		case int64:
			if content, readErr := os.ReadFile(file.Path); err != nil || readErr != nil || file.Size != want || int64(len(content)) != want {
				t.Errorf("%s: %+v, %v", name, file, err)
			}
		case string:
			if !errors.Is(err, jobs.ErrNoAudio) || errors.Is(err, jobs.ErrUnavailable) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not say %q", name, err, want)
			}
		}
	}
	if _, err := audio.New(audio.Options{}).Open(t.Context(), dir+"/a.wav"); !errors.Is(err, jobs.ErrNoAudio) {
		t.Errorf("without roots: %v", err)
	}
}

func TestObjects(t *testing.T) {
	client, site := jobstest.InMemory(t, "audio", "secrets")
	for _, place := range [][2]string{{"audio", "calls/语音 1.mp3"}, {"audio", "calls/large.wav"}, {"audio", "other/a.wav"}, {"secrets", "a.wav"}} {
		size := 10
		if strings.Contains(place[1], "large") {
			size = 200
		}
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(place[0]), Key: aws.String(place[1]), Body: bytes.NewReader(make([]byte, size))}); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	clients := s3client.New(map[string]runbooks.S3{"default": site})
	o := audio.New(audio.Options{Clients: clients, Roots: []string{"s3://audio/calls"}, MaxBytes: 100, Dir: dir})
	file, err := o.Open(t.Context(), "s3://audio/calls/语音 1.mp3")
	if err != nil || file.Size != 10 || !strings.HasSuffix(file.Path, ".mp3") {
		t.Fatalf("%+v, %v", file, err)
	}
	if content, err := os.ReadFile(file.Path); err != nil || len(content) != 10 {
		t.Errorf("%d bytes, %v", len(content), err)
	}
	file.Close()
	for ref, says := range map[string]string{
		"s3://audio/calls/absent.wav":        "no such object",
		"s3://audio/calls/large.wav":         "200 bytes",
		"s3://audio/other/a.wav":             "outside",
		"s3://secrets/a.wav":                 "outside",
		"s3://audio/calls/../other/a.wav":    "outside",
		"s3://audio/calls//a.wav":            "empty part",
		"/etc/passwd":                        "outside",
		"s3://audio/calls/../../secrets/a.w": "outside",
	} {
		if _, err := o.Open(t.Context(), ref); !errors.Is(err, jobs.ErrNoAudio) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v does not say %q", ref, err, says)
		}
	}
	all := audio.New(audio.Options{Clients: clients, Roots: []string{"s3://"}, Dir: dir})
	if file, err := all.Open(t.Context(), "s3://secrets/a.wav"); err != nil {
		t.Error(err)
	} else {
		file.Close()
	}
	for _, ref := range []string{"s3://absent/a.wav"} {
		if _, err := all.Open(t.Context(), ref); !errors.Is(err, jobs.ErrUnavailable) || errors.Is(err, jobs.ErrNoAudio) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := all.Open(ctx, "s3://secrets/a.wav"); !errors.Is(err, jobs.ErrUnavailable) {
		t.Errorf("a cancelled copy: %v", err)
	}
	left, err := os.ReadDir(filepath.Join(dir, "understudy-audio"))
	if err != nil || len(left) != 0 {
		t.Errorf("left on disk: %v, %v", left, err)
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	dir := t.TempDir()
	old, young := filepath.Join(dir, "understudy-audio", "1.wav"), filepath.Join(dir, "understudy-audio", "2.wav")
	if err := os.Mkdir(filepath.Dir(old), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{old, young} {
		if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-25*time.Hour)); err != nil {
		t.Fatal(err)
	}
	audio.New(audio.Options{Dir: dir})
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("the leftover is there: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("what may be in use is gone: %v", err)
	}
}
