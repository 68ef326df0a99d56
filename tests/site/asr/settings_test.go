package asr

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/understudy-dr/understudy/activities/settings"
	"github.com/understudy-dr/understudy/runbooks"
)

func TestReadSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings.json")
	text := `{"fun-asr/itn": "one=1\ntwenty=20\nno rule\n", "fun-asr/hotwords": "Elephants, zebra\nlion", "fun-asr/other": "x"}`
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := ReadSettings(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"elephants", "zebra", "lion"}; !slices.Equal(s.Hotwords, want) {
		t.Errorf("hot words %q, want %q", s.Hotwords, want)
	}
	if want := map[string]string{"one": "1", "twenty": "20"}; !maps.Equal(s.Figures, want) {
		t.Errorf("figures %q, want %q", s.Figures, want)
	}
	if got, want := s.write("one or twenty elephants"), "1 or 20 elephants"; got != want {
		t.Errorf("wrote %q, want %q", got, want)
	}
}

// Understudy reads the same values from the config center, and compares.
func TestHashIsTheOneThatUnderstudyComputes(t *testing.T) {
	prefix := runbooks.Source{Kind: settings.KindEtcd, Prefix: "fun-asr/"}
	for _, values := range []settings.Values{
		{},
		{"b": "2", "a": "1"},
		{"fun-asr/hotwords": "语音,<b>&amp;\"\\", "fun-asr/itn": "one=1\nnine=9"},
	} {
		text, err := json.MarshalIndent(values, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "settings.json")
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		if s, err := ReadSettings(file); err != nil || s.Hash != settings.Hash(prefix, values) {
			t.Errorf("hash of %s is %s, %v; want %s", text, s.Hash, err, settings.Hash(prefix, values))
		}
	}
}

func TestReadSettingsRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings.json")
	for _, text := range []string{"", "[]", `{"hotwords": ["a"]}`} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if s, err := ReadSettings(file); err == nil {
			t.Errorf("read %q as %+v", text, s)
		}
	}
}
