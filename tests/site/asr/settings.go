package asr

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"strings"
)

// Settings are what the config center holds for a recognizer: hot words, and
// the rules that turn words into figures.
type Settings struct {
	// Hotwords are words to listen for beyond the model's vocabulary.
	Hotwords []string
	// Figures says how spoken words are written: "one" as "1".
	Figures map[string]string
	// Hash identifies the settings: the SHA-256 of their JSON object, keys sorted,
	// without spaces, nothing escaped but what JSON demands.
	Hash string
}

// ReadSettings reads a JSON object of strings, as the keys and values of the
// config center. A key whose last part is "hotwords" has words with commas or
// line breaks between; one that ends in "itn" has lines such as one=1. Other
// keys only count for the hash. Without a path the settings are empty.
func ReadSettings(file string) (Settings, error) {
	values := map[string]string{}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return Settings{}, fmt.Errorf("read settings: %w", err)
		}
		if err := json.Unmarshal(text, &values); err != nil {
			return Settings{}, fmt.Errorf("read settings %s: %w", file, err)
		}
	}
	s := Settings{Figures: map[string]string{}, Hash: hash(values)}
	for key, value := range values {
		switch path.Base(key) {
		case "hotwords":
			s.Hotwords = words(value)
		case "itn":
			for line := range strings.Lines(value) {
				if word, figure, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
					s.Figures[word] = figure
				}
			}
		}
	}
	return s, nil
}

func hash(values map[string]string) string {
	var canonical strings.Builder
	encoder := json.NewEncoder(&canonical)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(values) // a map of strings always encodes
	return fmt.Sprintf("%x", sha256.Sum256([]byte(strings.TrimSuffix(canonical.String(), "\n"))))
}

// words reads a list of hot words as clients send it.
func words(list string) []string {
	return strings.FieldsFunc(strings.ToLower(list), func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' })
}

// write is the text with figures for words: inverse text normalization at its smallest.
func (s Settings) write(text string) string {
	written := strings.Fields(text)
	for i, word := range written {
		if figure, ok := s.Figures[word]; ok {
			written[i] = figure
		}
	}
	return strings.Join(written, " ")
}
