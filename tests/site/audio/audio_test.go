package audio_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
	"github.com/understudy-dr/understudy/tests/site/audio"
)

func TestSpeechIsAudibleAndTheSameEachTime(t *testing.T) {
	harnesstest.Engines(t)
	t.Setenv("TMPDIR", t.TempDir())
	spoken, err := audio.Say(t.Context(), audio.Digits)
	if err != nil {
		t.Fatal(err)
	}
	if d := spoken.Duration(); d < 2*time.Second || d > 5*time.Second {
		t.Errorf("nine digits last %v", d)
	}
	if l := spoken.Loudness(); l < 0.02 {
		t.Errorf("loudness %v", l)
	}
	again, err := audio.Say(t.Context(), audio.Digits)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(spoken, again) {
		t.Error("the kept file is not what was spoken")
	}
}

func TestWAVIsReadBackBySox(t *testing.T) {
	harnesstest.Engines(t)
	clip := make(audio.Clip, audio.Rate)
	for i := range clip {
		clip[i] = int16(20000 * math.Sin(float64(i)/10))
	}
	path := filepath.Join(t.TempDir(), "sine") // no extension: sox must know it by its header
	if err := os.WriteFile(path, clip.WAV(), 0o644); err != nil {
		t.Fatal(err)
	}
	back, err := audio.Decode(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(clip, back) {
		t.Errorf("%d samples became %d others", len(clip), len(back))
	}
}

func TestDecodeRefusesWhatIsNoAudio(t *testing.T) {
	harnesstest.Engines(t)
	path := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(path, []byte("this is no audio"), 0o644); err != nil {
		t.Fatal(err)
	}
	if clip, err := audio.Decode(t.Context(), path); err == nil {
		t.Errorf("decoded %d samples", len(clip))
	}
}

func TestClips(t *testing.T) {
	second := audio.Silence(time.Second)
	if len(second) != audio.Rate || second.Loudness() != 0 {
		t.Errorf("a second of silence: %d samples, loudness %v", len(second), second.Loudness())
	}
	if d := second.Repeat(3, 500*time.Millisecond).Duration(); d != 4500*time.Millisecond {
		t.Errorf("three seconds and three pauses last %v", d)
	}
	if l := (audio.Clip{math.MinInt16, math.MinInt16}).Loudness(); l != 1 {
		t.Errorf("the loudest clip has loudness %v", l)
	}
	if l := (audio.Clip{}).Loudness(); l != 0 {
		t.Errorf("no sound has loudness %v", l)
	}
}
