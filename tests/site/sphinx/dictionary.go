package sphinx

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// dictionary says how the words are pronounced that the engine shall know: the
// model's vocabulary and the hot words. It returns the file to use, and the hot
// words that nobody can pronounce. A model without a vocabulary knows them all.
func dictionary(model string, hotwords []string, dir string) (path string, unknown []string, err error) {
	lexicon := filepath.Join(model, Lexicon)
	vocabulary, err := os.ReadFile(filepath.Join(model, Vocabulary))
	if errors.Is(err, fs.ErrNotExist) {
		return lexicon, nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	wanted := map[string]bool{}
	for _, word := range strings.Fields(string(vocabulary)) {
		wanted[word] = true
	}
	found := map[string]bool{}
	for _, word := range hotwords {
		wanted[word] = true
	}

	in, err := os.Open(lexicon)
	if err != nil {
		return "", nil, err
	}
	defer in.Close()
	var chosen strings.Builder
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		entry, _, _ := strings.Cut(lines.Text(), " ")
		word := base(entry)
		if !wanted[word] {
			continue
		}
		found[word] = true
		fmt.Fprintln(&chosen, lines.Text())
	}
	if err := lines.Err(); err != nil {
		return "", nil, err
	}
	for _, word := range hotwords {
		if !found[word] {
			unknown = append(unknown, word)
		}
	}
	path = filepath.Join(dir, "words.dict")
	return path, unknown, os.WriteFile(path, []byte(chosen.String()), 0o644)
}

// base is the word of a dictionary's entry: a second way to say "two" is listed as "two(2)".
func base(entry string) string {
	word, _, _ := strings.Cut(entry, "(")
	return word
}
