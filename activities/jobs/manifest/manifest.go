// Package manifest makes NeMo manifests of the audio that lies in a folder, fits a
// pattern, or lies below a prefix in S3.
//
// Each line names a file relative to the base, and its length, which is measured.
// What is no audio is left out and told, and does not stop the rest.
package manifest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/speech"
)

// measurers is how many files are measured at the same time.
const measurers = 8

// Extensions are those of files that are taken for audio.
var Extensions = []string{
	".wav", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".mp4", ".webm", ".aac", ".amr", ".aif", ".aiff", ".wma", ".w64", ".caf", ".mka",
}

// Options describe what to list.
type Options struct {
	// Source is a folder, a pattern with *, ? or [, a file, or s3://bucket/prefix. Folders are walked to their leaves;
	// links are not followed.
	Source string
	// Clients are for s3:// sources.
	Clients *s3client.Clients
	// Seconds measures a file of this machine that is not plain WAV; its errors are the reasons why a file is left out.
	Seconds func(ctx context.Context, path string) (float64, error)
	// Audio opens objects, to measure those that are not plain WAV.
	Audio jobs.Opener
	// Progress, where given, is told how many files were measured.
	Progress func(files int64)
}

// Summary is what was listed.
type Summary struct {
	// Base is where the paths of the manifest begin.
	Base    string
	Items   int64
	Seconds float64
	// Skipped are files that look like audio and are left out, with the reason; Line is 0.
	Skipped []jobs.Problem
	// Others is how many files do not look like audio.
	Others int64
}

// Write writes a manifest of all audio of a source, in the order of its names. It
// returns jobs.ErrInvalid for a source that is not usable or holds no audio.
func Write(ctx context.Context, to io.Writer, o Options) (Summary, error) {
	if o.Progress == nil {
		o.Progress = func(int64) {}
	}
	source, err := open(ctx, o)
	if err != nil {
		return Summary{}, err
	}
	s := Summary{Base: source.base}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for found := range ordered(ctx, source) {
		switch {
		case found.err != nil && found.name == "":
			return s, found.err
		case found.other:
			s.Others++
			continue
		case found.err != nil:
			s.Skipped = append(s.Skipped, jobs.Problem{Field: found.name, Why: found.err.Error()})
			o.Progress(s.Items + int64(len(s.Skipped)))
			continue
		}
		if _, err := to.Write(line(found)); err != nil {
			return s, fmt.Errorf("write the manifest: %w", err)
		}
		s.Items++
		s.Seconds += found.seconds
		o.Progress(s.Items + int64(len(s.Skipped)))
	}
	if err := ctx.Err(); err != nil {
		return s, context.Cause(ctx)
	}
	if s.Items == 0 {
		return s, fmt.Errorf("%w: there is no audio in %s (%d files that are none, %d that cannot be read)", jobs.ErrInvalid, o.Source, s.Others, len(s.Skipped))
	}
	return s, nil
}

// source is a place with files, in order.
type source struct {
	base string
	// each calls back with the names below the base; the callback's false ends it.
	each func(ctx context.Context, name func(string) bool) error
	// measure returns the length of a file in seconds.
	measure func(ctx context.Context, name string) (float64, error)
}

// file is what was found under a name.
type file struct {
	name    string
	seconds float64
	other   bool
	// err is why it is left out; without a name it is about the whole source.
	err error
}

// ordered measures some files at the same time, and returns them in their order.
func ordered(ctx context.Context, s source) <-chan file {
	waiting := make(chan chan file, measurers)
	out := make(chan file)
	put := func(one chan file) bool {
		select {
		case waiting <- one:
			return true
		case <-ctx.Done():
			return false
		}
	}
	go func() {
		defer close(waiting)
		err := s.each(ctx, func(name string) bool {
			one := make(chan file, 1)
			go func() { one <- look(ctx, s, name) }()
			return put(one)
		})
		if err != nil {
			one := make(chan file, 1)
			one <- file{err: err}
			put(one)
		}
	}()
	go func() {
		defer close(out)
		for one := range waiting {
			select {
			case out <- <-one:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// look judges one file.
func look(ctx context.Context, s source, name string) file {
	f := file{name: name}
	switch {
	case !slices.Contains(Extensions, strings.ToLower(path.Ext(name))):
		f.other = true
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		f.name = fmt.Sprintf("%q", name)
		f.err = errors.New("its name is not UTF-8, or contains a control character; rename it")
	default:
		f.seconds, f.err = s.measure(ctx, name)
		f.seconds = math.Round(f.seconds*1000) / 1000
		if f.err == nil && f.seconds <= 0 {
			f.err = speech.BadAudio("it has a length of 0 s")
		}
	}
	return f
}

func line(f file) []byte {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(struct { // a text and a number always encode
		Path     string  `json:"audio_filepath"`
		Duration float64 `json:"duration"`
	}{f.name, f.seconds})
	return text.Bytes()
}
