package main_test

import (
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
	"github.com/understudy-dr/understudy/tests/site/audio"
	"github.com/understudy-dr/understudy/tests/site/stage"
)

func TestSynthesizer(t *testing.T) {
	t.Parallel()
	output := filepath.Join(t.TempDir(), "output")
	site := harnesstest.TTS(t, harness.SiteOptions{Args: []string{"--output", output}})
	recognizer := harnesstest.ASR(t, harness.SiteOptions{})
	synthesize := func(query, body string) reply {
		return send(t.Context(), http.MethodPost, site.URL+"/synthesize"+query, "application/json", []byte(body))
	}
	digits := func(more string) string { return `{"text":"` + audio.Digits + `"` + more + `}` }

	t.Run("is understood", func(t *testing.T) {
		lengths := map[string]float64{}
		for name, more := range map[string]string{
			"plain": "", "happy": `,"emotion":"happy"`, "sad": `,"emotion":"sad"`, "slow": `,"speed":0.8`, "fast": `,"speed":1.25`,
		} {
			r := synthesize("", digits(more))
			want(t, r, 200, nil)
			if r.kind != "audio/wav" {
				t.Errorf("%s: content type %q", name, r.kind)
			}
			clip := decode(t, r.body)
			if clip.Loudness() < 0.02 {
				t.Errorf("%s: loudness %v", name, clip.Loudness())
			}
			if got := text(t, recognizer, r.body); got != audio.Digits {
				t.Errorf("%s: understood as %q", name, got)
			}
			lengths[name] = clip.Duration().Seconds()
		}
		if lengths["fast"] >= lengths["plain"] || lengths["plain"] >= lengths["slow"] {
			t.Errorf("seconds by speed: %v", lengths)
		}
	})
	t.Run("keeps and serves its audio", func(t *testing.T) {
		var got struct{ URL string }
		want(t, synthesize("?answer=url", digits("")), 200, &got)
		kept, err := os.ReadFile(filepath.Join(output, filepath.Base(got.URL)))
		if err != nil {
			t.Fatal(err)
		}
		served := get(t, site.URL+got.URL)
		if want(t, served, 200, nil); string(served.body) != string(kept) || len(kept) < 10000 {
			t.Errorf("served %d bytes of %d", len(served.body), len(kept))
		}
		for _, path := range []string{"/audio/none.wav", "/audio/..%2f" + filepath.Base(output), "/audio/%2e%2e%2f%2e%2e%2fetc%2fpasswd"} {
			want(t, get(t, site.URL+path), 404, nil)
		}
		entries, err := os.ReadDir(output)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if !strings.HasSuffix(entry.Name(), ".wav") {
				t.Errorf("%s is left in the output", entry.Name())
			}
		}
	})
	t.Run("base64", func(t *testing.T) {
		var got struct{ Status, Audio, Emotion string }
		want(t, synthesize("?answer=json", digits(`,"emotion":"angry"`)), 200, &got)
		wav, err := base64.StdEncoding.DecodeString(got.Audio)
		if err != nil || got.Emotion != "angry" || decode(t, wav).Loudness() < 0.02 {
			t.Errorf("answer of %d bytes, emotion %q, %v", len(wav), got.Emotion, err)
		}
	})
	t.Run("health", func(t *testing.T) {
		for _, path := range []string{"/health", "/health?light=1"} {
			var got struct {
				Status, Model string
				Emotions      []string `json:"emotion_support"`
				Timestamp     int64
			}
			want(t, get(t, site.URL+path), 200, &got)
			if got.Status != "ok" || got.Model != "flite-rms" || len(got.Emotions) != 4 || got.Timestamp == 0 {
				t.Errorf("%s: %+v", path, got)
			}
		}
	})
	t.Run("version", func(t *testing.T) {
		var got struct{ Version string }
		if want(t, get(t, site.URL+"/version"), 200, &got); got.Version != harness.ModelVersion {
			t.Errorf("version %q", got.Version)
		}
	})
	for name, body := range map[string]string{
		"no JSON":            "text=hello",
		"no text":            `{"text":" \n"}`,
		"501 characters":     `{"text":"` + strings.Repeat("好", 501) + `"}`,
		"an unknown emotion": `{"text":"hi","emotion":"bored"}`,
		"too fast":           `{"text":"hi","speed":9}`,
		"text of a number":   `{"text":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			var got struct{ Status, Msg string }
			want(t, synthesize("", body), 400, &got)
			if got.Status != "error" || got.Msg == "" {
				t.Errorf("%+v", got)
			}
		})
	}
	t.Run("hostile text is only spoken", func(t *testing.T) {
		for _, body := range []string{`{"text":"-voice /etc/passwd"}`, `{"text":"$(id); rm -rf / \u0000 \"'"}`, `{"text":"` + strings.Repeat("好", 500) + `"}`} {
			want(t, synthesize("", body), 200, nil)
		}
	})

	t.Run("faults", func(t *testing.T) {
		suffer(t, site, stage.Fault{Mode: stage.Wrong})
		r := synthesize("", digits(""))
		if want(t, r, 200, nil); decode(t, r.body).Loudness() != 0 {
			t.Error("wrong audio is not silent")
		}
		suffer(t, site, stage.Fault{Mode: stage.NotReady})
		var got struct{ Msg string }
		if want(t, get(t, site.URL+"/health?light=1"), 503, &got); got.Msg != "model not loaded" {
			t.Errorf("not ready: %+v", got)
		}
		suffer(t, site, stage.Fault{Mode: stage.Error})
		want(t, synthesize("", digits("")), 503, nil)
		suffer(t, site, stage.Fault{Mode: stage.CrashMid})
		if r := synthesize("", digits("")); r.err == nil {
			t.Errorf("status %d, want a broken connection", r.status)
		}
		<-site.Done()
	})
}
