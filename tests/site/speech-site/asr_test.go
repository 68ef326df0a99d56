package main_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
	"github.com/understudy-dr/understudy/tests/site/audio"
)

func TestRecognizerAnswersLikeFunASR(t *testing.T) {
	t.Parallel()
	site := harnesstest.ASR(t, harness.SiteOptions{})
	digits := say(t, audio.Digits).WAV()
	endpoint := site.URL + "/v1/audio/transcriptions"

	t.Run("health", func(t *testing.T) {
		const want = `{"device":"cpu","models_loaded":["pocketsphinx-en-us"],"status":"ok"}`
		if got := strings.TrimSpace(string(get(t, site.URL+"/health").body)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
	t.Run("version", func(t *testing.T) {
		var got struct{ Version string }
		if want(t, get(t, site.URL+"/version"), 200, &got); got.Version != harness.ModelVersion {
			t.Errorf("version %q", got.Version)
		}
	})
	t.Run("models", func(t *testing.T) {
		const want = `{"data":[{"id":"pocketsphinx-en-us","object":"model"}],"object":"list"}`
		if got := strings.TrimSpace(string(get(t, site.URL+"/v1/models").body)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
	t.Run("json", func(t *testing.T) {
		var got map[string]any
		want(t, upload(t, endpoint, "digits.wav", digits, "model", "pocketsphinx-en-us", "language", "en"), 200, &got)
		if len(got) != 1 || got["text"] != audio.Digits {
			t.Errorf("answer %v", got)
		}
	})
	t.Run("text is a JSON string", func(t *testing.T) {
		var got string
		want(t, upload(t, endpoint, "digits.wav", digits, "response_format", "text"), 200, &got)
		if got != audio.Digits {
			t.Errorf("answer %q", got)
		}
	})
	t.Run("verbose_json", func(t *testing.T) {
		var got struct {
			Task, Language, Text string
			Duration             float64
			Segments             []struct {
				ID         int
				Start, End float64
				Text       string
				Words      []struct {
					Word       string
					Start, End float64
				}
			}
		}
		want(t, upload(t, endpoint, "digits.wav", digits, "response_format", "verbose_json"), 200, &got)
		if got.Task != "transcribe" || got.Language != "en" || got.Text != audio.Digits || got.Duration < 2 {
			t.Errorf("answer %+v", got)
		}
		if len(got.Segments) != 1 || got.Segments[0].Text != audio.Digits || got.Segments[0].End > got.Duration || len(got.Segments[0].Words) != 9 {
			t.Errorf("segments %+v", got.Segments)
		}
	})
	t.Run("asr", func(t *testing.T) {
		var got struct {
			Text           string
			ProcessingTime float64 `json:"processing_time"`
			RTF            float64
		}
		want(t, upload(t, site.URL+"/asr", "digits.wav", digits), 200, &got)
		if got.Text != audio.Digits || got.ProcessingTime <= 0 || got.RTF <= 0 {
			t.Errorf("answer %+v", got)
		}
	})
	t.Run("hot words of a request", func(t *testing.T) {
		const said = "the elephants have a meeting"
		clip := say(t, said).WAV()
		if got := text(t, site, clip); got == said {
			t.Errorf("heard %q without hot words", got)
		}
		var got struct{ Text string }
		if want(t, upload(t, site.URL+"/asr", "a.wav", clip, "hotwords", "zebra,Elephants"), 200, &got); got.Text != said {
			t.Errorf("heard %q, want %q", got.Text, said)
		}
	})
	t.Run("silence", func(t *testing.T) {
		if got := text(t, site, audio.Silence(time.Second).WAV()); got != "" {
			t.Errorf("heard %q", got)
		}
	})
	t.Run("eight at once", func(t *testing.T) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				var got struct{ Text string }
				r := upload(t, endpoint, "digits.wav", digits)
				if err := json.Unmarshal(r.body, &got); err != nil || got.Text != audio.Digits {
					t.Errorf("status %d: %s, %v", r.status, r.body, r.err)
				}
			})
		}
		all.Wait()
	})

	for name, c := range map[string]struct {
		reply  reply
		status int
		says   string
	}{
		"an unknown model": {upload(t, endpoint, "a.wav", digits, "model", "whisper-1"), 400, `{"detail":"Unknown model`},
		"no file":          {upload(t, endpoint, "", nil, "model", ""), 422, `"loc":["body","file"]`},
		"no form":          {send(t.Context(), "POST", site.URL+"/asr", "application/json", []byte("{}")), 422, `"loc":["body","file"]`},
		"half a form":      {send(t.Context(), "POST", endpoint, "multipart/form-data; boundary=x", []byte("--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nRIFF")), 400, `{"detail":`},
		"no audio":         {upload(t, endpoint, "a.wav", []byte("this is no audio")), 500, "Internal Server Error"},
		"a wrong path":     {get(t, site.URL+"/v2"), 404, `{"detail":"Not Found"}`},
		"no history":       {get(t, site.URL+"/history"), 404, `{"detail":`},
	} {
		t.Run(name, func(t *testing.T) {
			want(t, c.reply, c.status, nil)
			if !strings.Contains(string(c.reply.body), c.says) {
				t.Errorf("it says %s, want %s", c.reply.body, c.says)
			}
		})
	}

	t.Run("counts", func(t *testing.T) {
		stats, err := site.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if stats.Requests["/version"] != 1 || stats.Requests["/"] != 1 || stats.InFlight != 0 || stats.Inferences < 13 {
			t.Errorf("counted %+v", stats)
		}
		metrics := string(get(t, site.URL+"/metrics").body)
		for _, line := range []string{
			"speech_up 1\n", "speech_requests_total{path=\"/version\",status=\"200\"} 1\n",
			"speech_requests_total{path=\"/\",status=\"404\"} 1\n", "speech_requests_in_flight 1\n", "speech_inference_seconds_count ",
		} {
			if !strings.Contains(metrics, line) {
				t.Errorf("no %q in\n%s", line, metrics)
			}
		}
	})
}

func TestInferenceBlocksOnlyABlockingServer(t *testing.T) {
	t.Parallel()
	long := say(t, audio.Digits).Repeat(12, time.Second)
	for _, blocking := range []bool{true, false} {
		options := harness.SiteOptions{}
		if blocking {
			options.Args = []string{"--blocking"}
		}
		site := harnesstest.ASR(t, options)
		done := make(chan reply, 1)
		go func() { done <- upload(t, site.URL+"/asr", "long.wav", long.WAV()) }()
		inFlight(t, site, 1)
		if blocking {
			// The upload may still be on its way when the first question is answered.
			for !mute(t, site.URL+"/health") {
				if stats, err := site.Stats(t.Context()); err != nil || stats.Inferences > 0 {
					t.Fatalf("health was answered during the inference: %+v, %v", stats, err)
				}
			}
			if !mute(t, site.URL+"/metrics") {
				t.Error("metrics were answered during the inference")
			}
		}
		want(t, get(t, site.URL+"/health"), 200, nil)
		stats, err := site.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if (stats.Inferences == 1) != blocking {
			t.Errorf("blocking %v: health was answered after %d inferences", blocking, stats.Inferences)
		}
		var got struct{ Text string }
		want(t, <-done, 200, &got)
		if expected := strings.TrimSpace(strings.Repeat(audio.Digits+" ", 12)); got.Text != expected {
			t.Errorf("heard %q, want %q", got.Text, expected)
		}
	}
}

func TestHistoryOutlivesAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	settings := filepath.Join(dir, "settings.json")
	put(t, settings, `{"hotwords":"elephants","itn":"one=1\nnine=9"}`)
	site := harnesstest.ASR(t, harness.SiteOptions{Args: []string{"--history", filepath.Join(dir, "history.db"), "--settings", settings}})
	digits := say(t, audio.Digits).WAV()
	// The settings' hot words are those of the resident engine.
	if got := text(t, site, say(t, "the elephants have a meeting").WAV()); got != "the elephants have a meeting" {
		t.Errorf("heard %q", got)
	}
	want(t, upload(t, site.URL+"/asr", `it's; "two".wav`, digits), 200, nil)
	site.Kill()
	if err := site.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		ID                                  int
		Timestamp, Filename, Path, Language string
		RawText                             string `json:"raw_text"`
		ITNText                             string `json:"itn_text"`
	}
	want(t, get(t, site.URL+"/history"), 200, &rows)
	if len(rows) != 2 || rows[0].ID != 2 || rows[1].ID != 1 {
		t.Fatalf("rows %+v, want two, the newest first", rows)
	}
	row := rows[0]
	if row.Filename != `it's; "two".wav` || row.Path == "" || row.RawText != audio.Digits || row.Language != "en" ||
		row.ITNText != "1 two three four five six seven eight 9" {
		t.Errorf("row %+v", row)
	}
	if at, err := time.Parse(time.RFC3339, row.Timestamp); err != nil || time.Since(at) > time.Hour {
		t.Errorf("timestamp %q, %v", row.Timestamp, err)
	}
	var got struct{ Hash string }
	// printf '{"hotwords":"elephants","itn":"one=1\\nnine=9"}' | sha256sum
	const hash = "3bf464e43c8a2702af4c337dd343c4863b2ef52c0e12996f222892dace2032cc"
	if want(t, get(t, site.URL+"/settings"), 200, &got); got.Hash != hash {
		t.Errorf("hash %s, want %s", got.Hash, hash)
	}
}
