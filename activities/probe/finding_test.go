package probe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
)

func TestFindingOf(t *testing.T) {
	dial := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	for _, tt := range []struct {
		name      string
		err       error
		connected bool
		want      runbooks.Finding
	}{
		{"refused", dial(syscall.ECONNREFUSED), false, runbooks.Refuses},
		{"no route", dial(syscall.EHOSTUNREACH), false, runbooks.Unreachable},
		{"no network", dial(syscall.ENETUNREACH), false, runbooks.Unreachable},
		{"connect took too long", dial(syscall.ETIMEDOUT), false, runbooks.Unreachable},
		{"our deadline, not connected", context.DeadlineExceeded, false, runbooks.Unreachable},
		{"our deadline, connected", fmt.Errorf("read: %w", context.DeadlineExceeded), true, runbooks.Silent},
		{"read deadline", os.ErrDeadlineExceeded, true, runbooks.Silent},
		{"cancelled", fmt.Errorf("get: %w", context.Canceled), true, runbooks.Blind},
		{"out of files", dial(syscall.EMFILE), false, runbooks.Blind},
		{"out of ports", dial(syscall.EADDRNOTAVAIL), false, runbooks.Blind},
		{"forbidden here", dial(syscall.EPERM), false, runbooks.Blind},
		{"no such host", &net.DNSError{Err: "no such host", IsNotFound: true}, false, runbooks.Unreachable},
		{"name server refuses", &net.DNSError{Err: "read udp 127.0.0.1:53: connection refused"}, false, runbooks.Unreachable},
		{"name look-up without files", &net.DNSError{Err: "dial udp: socket: too many open files"}, false, runbooks.Blind},
		{"reset after connecting", &net.OpError{Op: "read", Err: syscall.ECONNRESET}, true, runbooks.Errors},
		{"closed after connecting", io.ErrUnexpectedEOF, true, runbooks.Errors},
		{"anything else", errors.New("malformed HTTP response"), true, runbooks.Errors},
	} {
		if got := probe.FindingOf(tt.err, tt.connected); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for _, tt := range []struct {
		text string
		max  int
		want string
	}{
		{"plain", 10, "plain"},
		{"  two\r\n\t lines \n", 20, "two lines"},
		{"\x1b[31mred\x00", 20, ".[31mred."},
		{"\xff\xfe", 20, ".."},
		{"a\u202eb\u200bc", 20, "a.b.c"},
		{"欢迎使用", 4, "欢迎使用"},
		{"欢迎使用", 3, "欢迎使..."},
		{"", 3, ""},
	} {
		if got := probe.Printable(tt.text, tt.max); got != tt.want {
			t.Errorf("Printable(%q, %d) = %q, want %q", tt.text, tt.max, got, tt.want)
		}
	}
}

func TestByKind(t *testing.T) {
	p := probe.ByKind(found("by http"), found("by tcp"))
	for kind, want := range map[string]string{
		"":     "by http",
		"http": "by http",
		"tcp":  "by tcp",
		"grpc": "health.kind grpc is not known; it is http or tcp",
	} {
		got := p.Probe(t.Context(), probe.Request{Health: runbooks.Health{Kind: kind}})
		if got.Detail != want {
			t.Errorf("kind %q: %q, want %q", kind, got.Detail, want)
		}
	}
}

type found string

func (f found) Probe(context.Context, probe.Request) probe.Result {
	return probe.Result{Finding: runbooks.Answers, Detail: string(f)}
}
