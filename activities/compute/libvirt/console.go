package libvirt

import (
	"context"
	"errors"
	"os"
	"strings"
	"unicode"

	"github.com/understudy-dr/understudy/activities/compute"
)

// maxConsole is how much of the end of a console is returned, in bytes.
const maxConsole = 8 << 10

// Console returns the end of a machine's serial console. See compute.Console.
func (p *Provider) Console(ctx context.Context, r compute.Ref) (string, error) {
	at, s, err := p.find(ctx, r)
	if err != nil {
		return "", err
	}
	if !s.ours() {
		return "", foreign(s)
	}
	return p.console(ctx, at, at.keyOf(s.name))
}

// console reads the log through the pool, which works from afar as well.
// virtlogd keeps it below some MiB, whatever the guest writes.
func (p *Provider) console(ctx context.Context, at place, key string) (string, error) {
	text, err := p.download(ctx, at, volume(key, consoleVolume))
	if errors.Is(err, errNoVolume) {
		return "", nil
	}
	return printable(text), err
}

// download reads a volume.
func (p *Provider) download(ctx context.Context, at place, name string) ([]byte, error) {
	file, err := os.CreateTemp("", "understudy-volume-")
	if err != nil {
		return nil, err
	}
	file.Close()
	defer os.Remove(file.Name())
	if _, err := p.call(ctx, at, "vol-download", "--pool", at.pool, "--vol", name, "--file", file.Name()); err != nil {
		return nil, err
	}
	return os.ReadFile(file.Name())
}

// printable is the end of a text that a machine has written, fit to be shown:
// whole lines without control characters.
func printable(text []byte) string {
	end := text[max(0, len(text)-maxConsole):]
	shown := strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r' || r == 0:
			return -1
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			return '.'
		}
		return r
	}, string(end))
	if len(end) < len(text) {
		if _, whole, cut := strings.Cut(shown, "\n"); cut {
			return whole
		}
	}
	return shown
}
