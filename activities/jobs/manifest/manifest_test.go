package manifest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/jobs/audio"
	"github.com/understudy-dr/understudy/activities/jobs/jobstest"
	"github.com/understudy-dr/understudy/activities/jobs/manifest"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/speech"
	"github.com/understudy-dr/understudy/activities/speech/speechtest"
	"github.com/understudy-dr/understudy/runbooks"
)

// files are what a folder or a bucket holds.
func files() map[string][]byte {
	tone := speechtest.Tone()
	long := append(bytes.Clone(tone[:36]), "LIST\x00\x20\x01\x00"...) // its data begins behind what is read of an object
	long = append(append(long, make([]byte, 0x12000)...), tone[36:]...)
	all := map[string][]byte{
		"a.wav": tone, "b/c.WAV": tone[:44+16000], "b/语音 (1).wav": tone, "z.mp3": []byte("ID3\x00pretend"), "long.wav": long,
		"empty.wav": nil, "text.wav": []byte("not found"), "zero.wav": tone[:44], "bad.mp3": []byte("ID3\x00broken"),
		"notes.txt": []byte("x"), "b/cover.jpg": []byte("x"),
	}
	for i := range 30 {
		all[fmt.Sprintf("many/%02d.wav", i)] = tone
	}
	return all
}

// seconds stands in for a decoder.
func seconds(_ context.Context, path string) (float64, error) {
	content, err := os.ReadFile(path)
	switch {
	case err != nil:
		return 0, err
	case bytes.Contains(content, []byte("broken")):
		return 0, speech.BadAudio("it cannot be decoded: sox: no header")
	case bytes.Contains(content, []byte("pretend")):
		return 2.34567, nil
	}
	return speech.Glance(bytes.NewReader(content), int64(len(content)))
}

func check(t *testing.T, s manifest.Summary, text, base string) {
	t.Helper()
	if s.Base != base || s.Items != 35 || s.Others != 2 || len(s.Skipped) != 4 || s.Seconds < 35.8 || s.Seconds > 35.9 {
		t.Errorf("%+v", s)
	}
	lines := strings.Split(text, "\n")
	for i, want := range map[int]string{0: `{"audio_filepath":"a.wav","duration":1}`, 1: `{"audio_filepath":"b/c.WAV","duration":0.5}`, 2: `{"audio_filepath":"b/语音 (1).wav","duration":1}`,
		4: `{"audio_filepath":"many/00.wav","duration":1}`, 33: `{"audio_filepath":"many/29.wav","duration":1}`, 34: `{"audio_filepath":"z.mp3","duration":2.346}`} {
		if lines[i] != want {
			t.Errorf("line %d is %s, want %s", i, lines[i], want)
		}
	}
	var skipped []string
	for _, p := range s.Skipped {
		skipped = append(skipped, p.String())
	}
	all := strings.Join(skipped, "\n")
	for _, want := range []string{"bad.mp3: ", "sox: no header", "empty.wav: ", "it is empty", "text.wav: ", "it is text: not found", "zero.wav: ", "0 s"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in\n%s", want, all)
		}
	}
	// What it writes is what a job takes.
	if m, err := jobs.CheckManifest(strings.NewReader(text), base); err != nil || m.Items != s.Items {
		t.Errorf("%+v, %v", m, err)
	}
}

func folder(t *testing.T) string {
	dir := t.TempDir()
	for name, content := range files() {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFolder(t *testing.T) {
	dir := folder(t)
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link.wav")); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	var told int64
	s, err := manifest.Write(t.Context(), &text, manifest.Options{Source: dir, Seconds: seconds, Progress: func(n int64) { told = n }})
	if err != nil {
		t.Fatal(err)
	}
	check(t, s, text.String(), dir)
	if told != 39 {
		t.Errorf("told of %d files", told)
	}
}

func TestPrefix(t *testing.T) {
	client, site := jobstest.InMemory(t, "audio")
	put := func(key string, content []byte) {
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("audio"), Key: aws.String(key), Body: bytes.NewReader(content)}); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range files() {
		put("calls/"+name, content)
	}
	put("calls-other/x.wav", speechtest.Tone())
	clients := s3client.New(map[string]runbooks.S3{"default": site})
	o := manifest.Options{Source: "s3://audio/calls/", Clients: clients, Seconds: seconds, Audio: audio.New(audio.Options{Clients: clients, Roots: []string{"s3://audio/calls"}, Dir: t.TempDir()})}
	var text bytes.Buffer
	s, err := manifest.Write(t.Context(), &text, o)
	if err != nil {
		t.Fatal(err)
	}
	check(t, s, text.String(), "s3://audio/calls")
	put("calls/tab\there.wav", speechtest.Tone())
	put("calls/double//slash.wav", speechtest.Tone())
	if s, err := manifest.Write(t.Context(), &text, o); err != nil || len(s.Skipped) != 6 || s.Items != 35 {
		t.Errorf("%+v, %v", s, err)
	}
	o.Source = "s3://absent"
	if _, err := manifest.Write(t.Context(), &text, o); !errors.Is(err, jobs.ErrUnavailable) {
		t.Error(err)
	}
}

func TestPatternsAndOthers(t *testing.T) {
	dir := folder(t)
	t.Chdir(dir)
	for source, want := range map[string]struct {
		items int64
		base  string
	}{
		filepath.Join(dir, "many", "0*.wav"): {10, filepath.Join(dir, "many")},
		"many/?5.wav":                        {3, filepath.Join(dir, "many")},
		"b*":                                 {2, dir}, // a folder that fits
		"a.wav":                              {1, dir},
		"many":                               {30, filepath.Join(dir, "many")},
	} {
		var text bytes.Buffer
		s, err := manifest.Write(t.Context(), &text, manifest.Options{Source: source, Seconds: seconds})
		if err != nil || s.Items != want.items || s.Base != want.base {
			t.Errorf("%s: %+v, %v", source, s, err)
		}
	}
	for _, source := range []string{"", "absent", "many/x*.wav", "notes.txt", "[", "s3://", "s3://audio/x"} {
		if s, err := manifest.Write(t.Context(), &bytes.Buffer{}, manifest.Options{Source: source}); !errors.Is(err, jobs.ErrInvalid) {
			t.Errorf("%q: %+v, %v", source, s, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := manifest.Write(ctx, &bytes.Buffer{}, manifest.Options{Source: dir}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
