package jobs

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Item is a line of a manifest.
type Item struct {
	// Index counts the items from 0; blank lines do not count.
	Index int64
	// AudioPath is audio_filepath as the line has it.
	AudioPath string
	// Seconds is duration.
	Seconds float64
	// Line is the whole line, whose other fields go into the output as they are.
	Line []byte
	// After is the position behind it.
	After Position
	// Problems say why it cannot be done; a manifest that was checked has none.
	Problems []Problem
}

// parseItem reads a line. Whatever is wrong with it is in its problems.
func parseItem(line []byte, base string) Item {
	item := Item{Line: line}
	wrong := func(field, format string, args ...any) {
		item.Problems = append(item.Problems, Problem{Field: field, Why: fmt.Sprintf(format, args...)})
	}
	var fields struct {
		Path     json.RawMessage `json:"audio_filepath"`
		Duration json.RawMessage `json:"duration"`
	}
	switch {
	case !utf8.Valid(line):
		wrong("", "it is not UTF-8")
		return item
	case line[0] != '{':
		wrong("", "it is no JSON object")
		return item
	}
	if err := json.Unmarshal(line, &fields); err != nil {
		wrong("", "it is no JSON object: %v", err)
		return item
	}
	switch {
	case fields.Path == nil:
		wrong("audio_filepath", "missing")
	case json.Unmarshal(fields.Path, &item.AudioPath) != nil || string(fields.Path) == "null":
		wrong("audio_filepath", "it must be a text")
	default:
		if why := checkPath(base, item.AudioPath); why != "" {
			wrong("audio_filepath", "%s", why)
		}
	}
	switch {
	case fields.Duration == nil:
		wrong("duration", "missing; `understudy batch manifest` measures it")
	case json.Unmarshal(fields.Duration, &item.Seconds) != nil || string(fields.Duration) == "null":
		wrong("duration", "it must be a number of seconds")
	case item.Seconds <= 0:
		wrong("duration", "%v s; there is nothing to hear", item.Seconds)
	case item.Seconds > MaxSeconds || math.IsNaN(item.Seconds):
		wrong("duration", "%v s is longer than a week; seconds are meant", item.Seconds)
	}
	if len(item.Problems) > 0 {
		item.Seconds = 0
	}
	return item
}

// checkPath says why a path cannot be used; empty where it can.
func checkPath(base, name string) string {
	isControl := func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }
	switch {
	case name == "":
		return "it is empty"
	case len(name) > maxPath:
		return fmt.Sprintf("it is longer than %d bytes", maxPath)
	case strings.ContainsFunc(name, isControl):
		return "it contains a control character"
	case strings.Contains(name, "://") && !strings.HasPrefix(name, "s3://"):
		return "it must be a path or an s3:// URL"
	case strings.HasSuffix(name, "/"), strings.HasSuffix("/"+name, "/."):
		return "it is a folder"
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(name, "s3://"), "/") {
		if part == ".." {
			return "it climbs with .."
		}
	}
	full, below := resolve(base, name), strings.TrimSuffix(base, "/")+"/"
	if !strings.HasPrefix(full, below) || full == below {
		return fmt.Sprintf("it lies outside of %s", base)
	}
	return ""
}

// resolve is the absolute path or URL of a name.
func resolve(base, name string) string {
	full := name
	if !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "s3://") {
		full = strings.TrimSuffix(base, "/") + "/" + name
	}
	// One audio has one name, or duplicates would hide: a/./b and a//b are a/b.
	scheme := ""
	if rest, ok := strings.CutPrefix(full, "s3://"); ok {
		scheme, full = "s3:/", "/"+rest
	}
	for strings.Contains(full, "//") || strings.Contains(full, "/./") {
		full = strings.NewReplacer("//", "/", "/./", "/").Replace(full)
	}
	return scheme + full
}

// Ref is where the audio of an item is: an absolute path, or an s3:// URL.
func (j Job) Ref(item Item) string { return resolve(j.Base, item.AudioPath) }
