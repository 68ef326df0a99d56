// Package settings reads configuration from the config center: the expected
// model version, hot words, ITN rules.
//
// The config center is often down at the same time as the service. The
// [Reader] therefore keeps the last values on disk and hands them out with
// their age; "unavailable" is never taken for "different". The implementations
// of [Source] are etcd and http (Consul's KV store is plain HTTP).
package settings

import (
	"context"
	"errors"

	"github.com/understudy-dr/understudy/runbooks"
)

var (
	// ErrUnavailable means that the source did not answer, or answered nonsense.
	ErrUnavailable = errors.New("config source unavailable")
	// ErrMissing means that the source answered and holds no such key, or an empty one.
	ErrMissing = errors.New("config key missing or empty")
)

// Values are the keys that were read with what they hold. A source of one value
// (an etcd key, a URL) has one entry, under that key or URL.
type Values map[string]string

// Source reads from one kind of config center.
type Source interface {
	// Read reads what the reference names. It changes nothing and respects the context's deadline; a source that
	// hangs is ErrUnavailable when that is reached. Values of more than 1 MiB in all are ErrUnavailable.
	Read(ctx context.Context, ref runbooks.Source) (Values, error)
}
