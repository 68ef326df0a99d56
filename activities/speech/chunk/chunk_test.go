package chunk_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/speech"
	"github.com/understudy-dr/understudy/activities/speech/chunk"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
	"github.com/understudy-dr/understudy/tests/site/audio"
)

func newCutter(t *testing.T, o chunk.Options) *chunk.Cutter {
	t.Helper()
	for _, program := range []string{"sox", "ffmpeg"} {
		if _, err := harness.Find(program, program); err != nil {
			t.Skipf("missing: %v", err)
		}
	}
	o.Dir = t.TempDir()
	c, err := chunk.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, err := os.ReadDir(o.Dir); err != nil || len(left) != 0 {
			t.Errorf("left on disk: %v, %v", left, err)
		}
	})
	return c
}

// spoken is nine digits with a pause behind, n times.
func spoken(t *testing.T, n int) audio.Clip {
	t.Helper()
	harnesstest.Engines(t)
	clip, err := audio.Say(t.Context(), audio.Digits)
	if err != nil {
		t.Fatal(err)
	}
	return clip.Repeat(n, 700*time.Millisecond)
}

// tone is loud all the time.
func tone(seconds int) audio.Clip {
	clip := audio.Silence(time.Duration(seconds) * time.Second)
	for i := range clip {
		clip[i] = int16(12000 * math.Sin(float64(i)/7))
	}
	return clip
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, a speech.Audio) []byte {
	t.Helper()
	r, err := a.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil || int64(len(content)) != a.Size {
		t.Fatalf("%d bytes, not %d, %v", len(content), a.Size, err)
	}
	return content
}

func TestCutsLieInPauses(t *testing.T) {
	c := newCutter(t, chunk.Options{})
	clip := spoken(t, 6)
	path := write(t, "语音 1.wav", clip.WAV())
	limit := 8 * time.Second
	pieces, err := c.Cut(t.Context(), path, limit, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pieces.Close()
	if err := speech.CheckSpans(pieces.Spans); err != nil || len(pieces.Spans) < 2 {
		t.Fatalf("%v, %v", pieces.Spans, err)
	}
	if end := pieces.Spans[len(pieces.Spans)-1].End; math.Abs(end-clip.Duration().Seconds()) > 0.001 {
		t.Errorf("the last piece ends at %v, not %v", end, clip.Duration().Seconds())
	}
	for i, span := range pieces.Spans {
		if span.End-span.Start > limit.Seconds() {
			t.Errorf("piece %d is %v long", i, span)
		}
		if i > 0 && span.Start != pieces.Spans[i-1].End {
			t.Errorf("piece %d overlaps although there are pauses: %v", i, pieces.Spans)
		}
		if near := clip[int(span.End*audio.Rate)-800 : min(int(span.End*audio.Rate)+800, len(clip))]; near.Loudness() > 0.005 {
			t.Errorf("piece %d ends at %v, where it is as loud as %v", i, span.End, near.Loudness())
		}
		wav := read(t, pieces.Audio(i))
		if seconds, err := speech.Glance(bytes.NewReader(wav), int64(len(wav))); err != nil || math.Abs(seconds-(span.End-span.Start)) > 0.001 {
			t.Errorf("piece %d lasts %v s, not %v, %v", i, seconds, span, err)
		}
		if !bytes.Equal(wav, read(t, pieces.Audio(i))) {
			t.Errorf("piece %d is another one the second time", i)
		}
	}
	again, err := c.Cut(t.Context(), path, limit, nil)
	if err != nil || !reflect.DeepEqual(again.Spans, pieces.Spans) {
		t.Errorf("again %v, first %v, %v", again.Spans, pieces.Spans, err)
	}
	again.Close()
	// Where somebody else has cut, it is cut again.
	theirs := []speech.Span{{Start: 0, End: 3}, {Start: 2, End: clip.Duration().Seconds() + 0.3}}
	other, err := c.Cut(t.Context(), path, limit, theirs)
	if err != nil || !reflect.DeepEqual(other.Spans, theirs) {
		t.Fatalf("%v, %v", other.Spans, err)
	}
	defer other.Close()
	read(t, other.Audio(1))
	_, err = c.Cut(t.Context(), path, limit, []speech.Span{{Start: 0, End: 3}})
	item(t, "the spans of another audio", err, "when it was first cut")
}

func TestWithoutPausesPiecesOverlap(t *testing.T) {
	c := newCutter(t, chunk.Options{})
	pieces, err := c.Cut(t.Context(), write(t, "tone.wav", tone(50).WAV()), 20*time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pieces.Close()
	if err := speech.CheckSpans(pieces.Spans); err != nil || len(pieces.Spans) != 3 {
		t.Fatalf("%v, %v", pieces.Spans, err)
	}
	for i, span := range pieces.Spans {
		if span.End-span.Start > 20 || i > 0 && math.Abs(pieces.Spans[i-1].End-span.Start-2) > 0.001 {
			t.Errorf("piece %d of %v", i, pieces.Spans)
		}
	}
	short, err := c.Cut(t.Context(), write(t, "short.wav", tone(3).WAV()), 20*time.Second, nil)
	if err != nil || !reflect.DeepEqual(short.Spans, []speech.Span{{Start: 0, End: 3}}) {
		t.Errorf("%v, %v", short.Spans, err)
	}
	short.Close()
}

func TestFormats(t *testing.T) {
	c := newCutter(t, chunk.Options{})
	clip := tone(3)
	wav := write(t, "a.wav", clip.WAV())
	for name, args := range map[string][]string{
		"a.flac": nil, "a.ogg": nil, "a.mp3": nil, "a.m4a": {"-c:a", "aac"}, "a.webm": nil, "stereo.wav": {"-ar", "44100", "-ac", "2"}, "mulaw.wav": {"-ar", "8000", "-c:a", "pcm_mulaw"}, "no-extension": {"-f", "mp3"},
	} {
		path := filepath.Join(t.TempDir(), name)
		if out, err := exec.Command("ffmpeg", append(append([]string{"-v", "error", "-i", wav}, args...), path)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", name, err, out)
		}
		if err := c.Check(t.Context(), path); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if seconds, err := c.Seconds(t.Context(), path); err != nil || math.Abs(seconds-3) > 0.2 {
			t.Errorf("%s lasts %v, %v", name, seconds, err)
		}
		pieces, err := c.Cut(t.Context(), path, 2*time.Second, nil)
		if err != nil || len(pieces.Spans) != 2 {
			t.Errorf("%s: %v, %v", name, pieces.Spans, err)
			continue
		}
		pieces.Close()
	}
}

func TestWhatCannotBeDecoded(t *testing.T) {
	c := newCutter(t, chunk.Options{Longest: 5 * time.Second})
	secret := write(t, "secret.wav", tone(1).WAV())
	flac := filepath.Join(t.TempDir(), "a.flac")
	if out, err := exec.Command("sox", write(t, "a.wav", tone(4).WAV()), flac).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	whole, err := os.ReadFile(flac)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		file, content string
		says          string
	}{
		"text":                          {"a.wav", "this is no audio at all", "cannot be decoded: sox: "},
		"random bytes":                  {"a.mp3", strings.Repeat("\x00\x01\xfe\x77", 5000), "cannot be decoded"},
		"nothing":                       {"a.wav", "", "cannot be decoded"},
		"no sound":                      {"a.wav", string(audio.Clip{}.WAV()), "no sound"},
		"cut off":                       {"a.flac", string(whole[:len(whole)/2]), "beyond"},
		"longer than may be":            {"a.wav", string(tone(6).WAV()), "longer than 5s"},
		"a playlist":                    {"a.m3u", secret + "\n", "playlist"},
		"a playlist in disguise":        {"a.wav", "#EXTM3U\n#EXTINF:1,\n" + secret + "\n#EXT-X-ENDLIST\n", "cannot be decoded"},
		"a list of files in disguise":   {"a.mp3", "ffconcat version 1.0\nfile '" + secret + "'\n", "cannot be decoded"},
		"a playlist that goes far away": {"a.ogg", "[playlist]\nFile1=http://127.0.0.1:1/a\n", "cannot be decoded"},
	} {
		path := write(t, tt.file, []byte(tt.content))
		item(t, name, c.Check(t.Context(), path), tt.says)
		_, err := c.Cut(t.Context(), path, time.Second, nil)
		item(t, name, err, tt.says)
	}
	// What is not about the audio is not its fault.
	if err := c.Check(t.Context(), "relative.wav"); err == nil || errors.Is(err, speech.ErrItem) {
		t.Errorf("a relative path: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Check(ctx, flac); !errors.Is(err, context.Canceled) || errors.Is(err, speech.ErrItem) {
		t.Errorf("a cancelled decoding: %v", err)
	}
	full, err := chunk.New(chunk.Options{Dir: "/nonexistent"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := full.Cut(t.Context(), flac, time.Second, nil); err == nil || errors.Is(err, speech.ErrItem) {
		t.Errorf("no place for the sound: %v", err)
	}
}

func TestWithoutDecoders(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := chunk.New(chunk.Options{}); err == nil || !strings.Contains(err.Error(), "apt-get install") {
		t.Errorf("%v", err)
	}
}

func item(t *testing.T, name string, err error, says string) {
	t.Helper()
	if !errors.Is(err, speech.ErrItem) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 900 {
		t.Errorf("%s: %v, want an ErrItem that says %q", name, err, says)
	}
}
