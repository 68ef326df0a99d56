// Package settings reads configuration from the config center: the expected
// model version, hot words, ITN rules.
//
// The config center is often down at the same time as the service. The
// [Reader] therefore keeps the last values on disk and hands them out with
// their age; "unavailable" is never taken for "different". The implementations
// of [Source] are etcd and http (Consul's KV store is plain HTTP); a value that
// stands in the runbook itself needs none.
package settings

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/understudy-dr/understudy/runbooks"
)

// MaxSize is the most that one reference may yield, keys and values together, in bytes.
const MaxSize = 1 << 20

// The kinds of sources, as runbooks name them.
const (
	KindEtcd  = "etcd"
	KindHTTP  = "http"
	KindValue = "value"
)

var (
	// ErrUnavailable means that the source did not answer, or answered nonsense.
	ErrUnavailable = errors.New("config source unavailable")
	// ErrMissing means that the source answered and holds no such key, or an empty one.
	ErrMissing = errors.New("config key missing or empty")
)

// Values are the keys that were read with what they hold. A source of one value
// (an etcd key, a URL) has one entry, under that key, or under the URL without
// its query. The keys of an etcd prefix are told from the prefix's last slash
// on: the prefix fun-asr/ holds hotwords, wherever a site keeps its fun-asr/.
// One final newline is not part of a value.
type Values map[string]string

// Source reads from one kind of config center.
type Source interface {
	// Read reads what the reference names. It changes nothing and respects the context's deadline; a source that
	// hangs is ErrUnavailable when that is reached. Values of more than MaxSize in all, and text that is not UTF-8,
	// are ErrUnavailable. Values that are all empty are ErrMissing.
	Read(ctx context.Context, ref runbooks.Source) (Values, error)
}

// Tidy brings what a source read into the form of the contract: final newlines
// are cut, and what cannot be handed out is ErrUnavailable or ErrMissing.
func Tidy(raw Values) (Values, error) {
	values, size, empty := Values{}, 0, true
	for key, value := range raw {
		value = strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r")
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return nil, fmt.Errorf("%w: %q holds bytes that are not UTF-8 text", ErrUnavailable, key)
		}
		values[key] = value
		size += len(key) + len(value)
		empty = empty && value == ""
	}
	if size > MaxSize {
		return nil, fmt.Errorf("%w: more than %d KiB of configuration; name fewer or smaller keys", ErrUnavailable, MaxSize>>10)
	}
	if empty {
		return nil, ErrMissing
	}
	return values, nil
}
