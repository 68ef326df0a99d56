package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/traffic"
)

const (
	// patience bounds one exchange: View promises an answer within a second.
	patience = 900 * time.Millisecond
	// maxLine keeps a line of commands within HAProxy's buffer (tune.bufsize, 16 KiB unless made smaller), which
	// also holds the replies. It is enough for a hundred servers.
	maxLine = 8 << 10
	// maxReply is far above what one backend needs, and bounds what a stranger on that port can make us hold.
	maxReply = 4 << 20
)

// socket is where one HAProxy listens for commands.
type socket struct{ network, address string }

// parseSocket reads a path or host:port.
func parseSocket(text string) (socket, error) {
	if strings.HasPrefix(text, "/") {
		return socket{"unix", text}, nil
	}
	if err := traffic.ValidAddress(text); err != nil {
		return socket{}, fmt.Errorf("traffic.sockets: write the absolute path of a socket, or host:port: %w", err)
	}
	return socket{"tcp", text}, nil
}

func (s socket) String() string { return s.address }

// ask sends commands in one line and returns one reply for each. Every command
// that is sent here may be sent twice: a connection that broke is tried once
// more, because a reload breaks some.
func (s socket) ask(ctx context.Context, commands ...string) ([]string, error) {
	line := strings.Join(commands, ";") + "\n"
	if len(line) > maxLine {
		return nil, fmt.Errorf("%w: %d commands do not fit into one line for haproxy at %s; change fewer servers at once", traffic.ErrRefused, len(commands), s)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := s.exchange(ctx, line)
	if err != nil && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(patience / 10):
			answer, err = s.exchange(ctx, line)
		}
	}
	var replies []string
	if err == nil {
		replies, err = split(answer, len(commands))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: haproxy at %s: %w%s", traffic.ErrUnreachable, s, err, hint(err))
	}
	return replies, nil
}

// exchange writes a line and reads until HAProxy closes, as it does after a
// line that is not followed by another.
func (s socket) exchange(ctx context.Context, line string) (string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, s.network, s.address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	// Only the end of the context closes the connection early: a deadline of its own would hide a cancellation.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := io.WriteString(conn, line); err != nil {
		return "", because(ctx, err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, maxReply+1))
	switch {
	case err != nil:
		return "", because(ctx, err)
	case len(answer) > maxReply:
		return "", fmt.Errorf("answers more than %d bytes", maxReply)
	case len(answer) == 0:
		return "", errors.New("closes the connection without an answer")
	}
	return string(answer), nil
}

// split cuts an answer into its replies: each ends with an empty line, and has none within.
func split(answer string, want int) ([]string, error) {
	var replies []string
	var reply strings.Builder
	for line := range strings.Lines(answer) {
		if line != "\n" {
			reply.WriteString(line)
			continue
		}
		replies = append(replies, strings.TrimSuffix(reply.String(), "\n"))
		reply.Reset()
	}
	if len(replies) != want || reply.Len() > 0 {
		return nil, fmt.Errorf("gives %d replies to %d commands; is this an HAProxy stats socket?", len(replies), want)
	}
	return replies, nil
}

// because prefers the context's reason to "use of closed network connection".
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("no answer: %w", ctx.Err())
	}
	return err
}

// hint says what an operator can do.
func hint(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "; let Understudy's user into the group that owns the socket"
	case errors.Is(err, fs.ErrNotExist):
		return "; is HAProxy running, and is this the path of its stats socket?"
	default:
		return ""
	}
}
