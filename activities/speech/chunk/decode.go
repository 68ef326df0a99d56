package chunk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/speech"
)

// decoder is a program that decodes audio.
type decoder struct {
	name, path string
	// args reads the file and writes raw samples to standard output.
	args func(file string) []string
	// failed, where given, marks a failure in what it says though it ends well.
	failed string
}

// playlists are no audio: they name other files, which a decoder would then read.
var playlists = []string{".m3u", ".m3u8", ".pls", ".ffconcat", ".txt"}

// formats are those that ffmpeg may take. Others make it read more files, or the network.
const formats = "wav,w64,mp3,flac,ogg,mov,matroska,aac,amr,aiff,au,caf,asf,mpeg,mpegts,wv,ape,tta,ac3,eac3,dts"

func findDecoders() []decoder {
	var found []decoder
	for _, d := range []decoder{
		{name: "sox", failed: " FAIL ", args: func(file string) []string {
			// Dither is random; without it the same file is the same sound each time.
			return []string{"-D", "-V1", file, "-t", "raw", "-r", fmt.Sprint(rate), "-e", "signed-integer", "-b", "16", "-L", "-c", "1", "-"}
		}},
		{name: "ffmpeg", args: func(file string) []string {
			return []string{"-v", "error", "-nostdin", "-protocol_whitelist", "file", "-format_whitelist", formats, "-i", "file:" + file,
				"-map", "0:a:0", "-f", "s16le", "-ar", fmt.Sprint(rate), "-ac", "1", "pipe:1"}
		}},
	} {
		if path, err := exec.LookPath(d.name); err == nil {
			d.path = path
			found = append(found, d)
		}
	}
	return found
}

var (
	errTooLong = errors.New("it is longer than may be")
	errDamaged = errors.New("it is damaged")
	errSink    = errors.New("the decoded sound cannot be kept")
)

// decode has the decoders try in turn. The first sound that comes decides.
func (c *Cutter) decode(ctx context.Context, file string, into *meter) error {
	switch {
	case !filepath.IsAbs(file):
		return fmt.Errorf("decode the audio: %q is no absolute path", file)
	case slices.Contains(playlists, strings.ToLower(filepath.Ext(file))):
		return speech.BadAudio("a playlist or text, no audio")
	}
	var refusals []string
	for _, d := range c.decoders {
		said, err := d.run(ctx, file, into, int64(c.options.Longest/time.Second)*second)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errTooLong):
			return speech.BadAudio("it is longer than %s", c.options.Longest)
		case errors.Is(err, errSink):
			return fmt.Errorf("decode the audio: %w", err)
		case err == nil && into.bytes >= frameBytes:
			return nil
		case err != nil && err != errDamaged && !errors.As(err, new(*exec.ExitError)):
			return fmt.Errorf("decode the audio: run %s: %w", d.name, err)
		case into.bytes > 0:
			// Cut off or damaged in its middle: half a transcript must not pass for a whole one.
			return speech.BadAudio("it cannot be decoded beyond %.1f s: %s: %s", into.seconds(), d.name, said)
		case err == nil:
			said = "no sound in it"
		}
		refusals = append(refusals, d.name+": "+said)
	}
	return speech.BadAudio("it cannot be decoded: %s", strings.Join(refusals, "; "))
}

// run decodes a file; said is what the program had to say about a failure.
func (d decoder) run(ctx context.Context, file string, into io.Writer, most int64) (said string, err error) {
	var complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, d.path, d.args(file)...)
	sink := &sink{to: into, left: most}
	cmd.Stdout, cmd.Stderr = sink, &limited{to: &complaint, left: 4 << 10}
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if sink.err != nil {
		err = sink.err
	}
	if err == nil && d.failed != "" && strings.Contains(complaint.String(), d.failed) {
		err = errDamaged
	}
	if err == nil {
		return "", nil
	}
	said = strings.Join(strings.Fields(strings.ReplaceAll(strings.ToValidUTF8(complaint.String(), "?"), file, filepath.Base(file))), " ")
	if said == "" {
		said = err.Error()
	}
	return strings.ToValidUTF8(said[:min(len(said), 300)], ""), err
}

// sink keeps apart what goes wrong with the decoded sound from what the decoder says.
type sink struct {
	to   io.Writer
	left int64
	err  error
}

func (s *sink) Write(p []byte) (int, error) {
	if s.left -= int64(len(p)); s.left < 0 {
		s.err = errTooLong
		return 0, s.err
	}
	n, err := s.to.Write(p)
	if err != nil {
		s.err = fmt.Errorf("%w: %w", errSink, err)
	}
	return n, err
}

// limited keeps the beginning and forgets the rest.
type limited struct {
	to   io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	_, err := l.to.Write(p[:n])
	return len(p), err
}
