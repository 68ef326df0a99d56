package speech

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
)

// errAsk marks requests that cannot even be made. No server is to blame.
var errAsk = errors.New("the request cannot be made")

func cannotAsk(format string, args ...any) error {
	return fmt.Errorf("%w: %w: %s", ErrServer, errAsk, fmt.Sprintf(format, args...))
}

// broken names a request that got no whole answer. The cause stays in the chain.
func broken(err error) error {
	err = unwrapped(err)
	switch found := probe.FindingOf(err, false); {
	case errors.Is(err, ErrAudio):
		return err
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: we broke off: %w", ErrServer, err)
	case isGone(err):
		return fmt.Errorf("%w: %w", ErrGone, err)
	case isMute(err):
		return fmt.Errorf("%w: %w", ErrMute, err)
	default:
		return fmt.Errorf("%w: it %s: %w", ErrServer, found, err)
	}
}

// isGone reports whether the other side refused or left.
func isGone(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// isMute reports whether the time was over, ours or the network's.
func isMute(err error) bool {
	var network interface{ Timeout() bool }
	return errors.As(err, &network) && network.Timeout()
}

// refused names an answer with a bad status, in the server's own words.
func refused(resp *http.Response, body []byte) error {
	kind := ErrServer
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		kind = ErrItem
	}
	text := fmt.Sprintf("HTTP %d", resp.StatusCode)
	if resp.StatusCode/100 == 3 {
		text += ", a redirect, which is not followed"
	} else if said := complaint(body); said != "" {
		text += ": " + said
	}
	return fmt.Errorf("%w: %w", kind, &statusError{resp.StatusCode, text})
}

// statusError is an answer with a bad status.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

// Status is the HTTP status with which a server refused a request, 0 where it did not.
func Status(err error) int {
	var refusal *statusError
	if errors.As(err, &refusal) {
		return refusal.status
	}
	return 0
}

// complaint finds what is wrong in the error shapes of the field:
// {"error": {"message": ...}}, {"error": "..."}, {"detail": "..."}, the list
// under detail that FastAPI makes of invalid input, or plain text.
func complaint(body []byte) string {
	var said struct {
		Error   json.RawMessage `json:"error"`
		Detail  json.RawMessage `json:"detail"`
		Message json.RawMessage `json:"message"`
	}
	if json.Unmarshal(body, &said) == nil {
		for _, part := range []json.RawMessage{said.Error, said.Detail, said.Message} {
			if text := words(part); text != "" {
				return quote(text)
			}
		}
	}
	return quote(string(body))
}

// words takes the text out of one of these shapes.
func words(raw json.RawMessage) string {
	var text string
	var object struct {
		Message string `json:"message"`
		Msg     string `json:"msg"`
		Loc     []any  `json:"loc"`
	}
	var list []json.RawMessage
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return ""
	case json.Unmarshal(raw, &text) == nil:
		return text
	case json.Unmarshal(raw, &list) == nil:
		var all []string
		for _, item := range list {
			if said := words(item); said != "" {
				all = append(all, said)
			}
		}
		return strings.Join(all, "; ")
	case json.Unmarshal(raw, &object) == nil && object.Message != "":
		return object.Message
	case object.Msg != "":
		var place []string
		for _, part := range object.Loc {
			place = append(place, fmt.Sprint(part))
		}
		return strings.TrimPrefix(strings.Join(place, ".")+": "+object.Msg, ": ")
	default:
		return string(raw)
	}
}

// findingOf says what a failed inference shows of the instance.
func findingOf(err error) runbooks.Finding {
	switch found := probe.FindingOf(err, false); {
	case errors.Is(err, errAsk), errors.Is(err, ErrAudio):
		return runbooks.Blind
	case found == runbooks.Blind, found == runbooks.Refuses:
		return found
	case errors.Is(err, ErrMute):
		return runbooks.Silent
	case found == runbooks.Unreachable:
		return found
	default:
		return runbooks.Errors
	}
}
