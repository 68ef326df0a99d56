package ec2

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/understudy-dr/understudy/activities/compute"
)

// maxConsole is how much of the end of a console is returned, in bytes.
const maxConsole = 8 << 10

// Console returns the end of an instance's serial console. Machines on older
// hardware show it only some minutes after it was written. See compute.Console.
func (p *Provider) Console(ctx context.Context, r compute.Ref) (string, error) {
	s, err := p.one(ctx, r)
	if err != nil {
		return "", err
	}
	if !s.ours() {
		return "", foreign(s)
	}
	read := func(latest bool) (*api.GetConsoleOutputOutput, error) {
		return call(ctx, p, request[*api.GetConsoleOutputOutput]{what: "read the console of " + s.id(), region: s.region, again: func(err error) bool { return codeOf(err) == "InvalidInstanceID.NotFound" },
			do: func(ctx context.Context, c *api.Client) (*api.GetConsoleOutputOutput, error) {
				return c.GetConsoleOutput(ctx, &api.GetConsoleOutputInput{InstanceId: s.InstanceId, Latest: aws.Bool(latest)})
			}})
	}
	out, err := read(true)
	if codeOf(err) == "UnsupportedOperation" {
		out, err = read(false)
	}
	if err != nil {
		return "", err
	}
	text, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
	if err != nil {
		return "", fmt.Errorf("read the console of %s: EC2 sends no base64: %w", s.id(), err)
	}
	return printable(text), nil
}

// printable is the end of a text that a machine has written, fit to be shown:
// whole lines without control characters.
func printable(text []byte) string {
	end := text[max(0, len(text)-maxConsole):]
	shown := strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r':
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
