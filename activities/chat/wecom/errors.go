package wecom

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/chat"
)

const (
	// maxAnswer bounds an answer of WeCom's; a true one has a few hundred bytes.
	maxAnswer = 64 << 10
	// maxPause bounds the pause that a proxy may ask for.
	maxPause = time.Hour
)

// Codes of WeCom's that mean something here; the page on global error codes names them.
const (
	codeOK        = 0
	codeFrequency = 45009
	codeKey       = 93000
)

// errForm marks a refusal of what was said, not of who said it.
var errForm = errors.New("WeCom does not take the form of this message; please report it")

// forms are the codes with which WeCom refuses a message for good because of what it holds.
var forms = map[int]bool{40008: true, 40058: true, 44004: true, 47001: true}

// understand reads an answer. WeCom answers HTTP 200 whatever happens.
func (m *Messenger) understand(resp *http.Response) error {
	if resp.StatusCode == http.StatusTooManyRequests {
		return &chat.RateLimitError{After: asked(resp.Header.Get("Retry-After"))}
	}
	if resp.StatusCode != http.StatusOK {
		return m.wrap(chat.ErrUnavailable, fmt.Sprintf("HTTP %d", resp.StatusCode))
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return m.failed(err)
	}
	var said struct {
		Code *int   `json:"errcode"`
		Why  string `json:"errmsg"`
	}
	if json.Unmarshal(text, &said) != nil || said.Code == nil {
		return m.wrap(chat.ErrUnavailable, "its answer makes no sense; it may not be WeCom that answers")
	}
	// The hint that follows names addresses and times, and helps nobody here.
	why, _, _ := strings.Cut(said.Why, ", hint:")
	switch code := *said.Code; {
	case code == codeOK:
		return nil
	case code == codeFrequency:
		return &chat.RateLimitError{After: minute}
	case code == codeKey:
		return m.wrap(chat.ErrRefused, fmt.Sprintf("errcode %d, %s: check chat.wecom.key; the robot may have been removed from its group", code, why))
	case forms[code]:
		return fmt.Errorf("%w: %w", errForm, m.wrap(chat.ErrRefused, fmt.Sprintf("errcode %d, %s", code, why)))
	default:
		return m.wrap(chat.ErrUnavailable, fmt.Sprintf("errcode %d, %s", code, why))
	}
}

// failed words a request that brought no answer.
func (m *Messenger) failed(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // what is around it names the address, and so the key
	}
	var network net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return m.wrap(chat.ErrUnavailable, "broken off")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return m.wrap(chat.ErrUnavailable, "no answer in time")
	default:
		return m.wrap(chat.ErrUnavailable, err.Error())
	}
}

// wrap keeps the key out of an error whatever the other side has said.
func (m *Messenger) wrap(kind error, why string) error {
	why = strings.ReplaceAll(chat.OneLine(why), m.config.Key, "(the key)")
	return fmt.Errorf("%w: WeCom: %s", kind, cut(why, 300))
}

func asked(header string) time.Duration {
	seconds, err := strconv.Atoi(strings.TrimSpace(header))
	if err != nil || seconds < 0 {
		return minute
	}
	return min(max(time.Duration(min(seconds, 1<<20))*time.Second, time.Second), maxPause)
}
