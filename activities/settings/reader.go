package settings

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/lastknown"
	"github.com/understudy-dr/understudy/runbooks"
)

// DefaultTimeout bounds how long a source is asked where nothing else is configured.
const DefaultTimeout = 2 * time.Second

// refuse is what a reference says when last-known values must not be used.
const refuse = "refuse"

// Reading is what a reference yields.
type Reading struct {
	Values Values `json:"values"`
	// Hash is what readings are compared by; see the function Hash.
	Hash string `json:"hash"`
	// At is when the source gave the values.
	At time.Time `json:"at"`
	// LastKnown is true where the source could not be asked now and these are the values that it gave last.
	LastKnown bool `json:"last_known,omitempty"`
	// Problem says why the values are only the last known ones, or why they could not be kept for bad times; empty
	// where all is well.
	Problem string `json:"problem,omitempty"`
}

// Single is the value of a reference that names one; empty where it names
// several keys, or none was read.
func (r Reading) Single() string {
	if len(r.Values) != 1 {
		return ""
	}
	for _, value := range r.Values {
		return value
	}
	return ""
}

// Age is how old the values are; zero where the clock was set back since.
func (r Reading) Age(now time.Time) time.Duration { return max(0, now.Sub(r.At)) }

// Note says what people must know about a reading of what, in at most one
// sentence; nothing where all is well. It looks at the clock, so it is not for workflows.
func (r Reading) Note(what string) []string {
	switch {
	case r.LastKnown:
		return []string{fmt.Sprintf("%s: the last known value, %s old: %s", what, r.Age(time.Now()).Round(time.Second), r.Problem)}
	case r.Problem != "":
		return []string{what + ": " + r.Problem}
	default:
		return nil
	}
}

// ReaderConfig says how a Reader reads.
type ReaderConfig struct {
	// Sources by kind: etcd and http.
	Sources map[string]Source
	// ConfigCenter is the endpoint for etcd references that name none.
	ConfigCenter string
	// Dir is where last known values are kept; empty keeps them in memory only.
	Dir string
	// Timeout bounds how long a source is asked. Default DefaultTimeout.
	Timeout time.Duration
}

// Reader reads references, whatever their kind, and remembers what it read. It
// is safe for concurrent use.
type Reader struct {
	config ReaderConfig
	kept   *lastknown.Shelf
}

// NewReader returns a reader.
func NewReader(config ReaderConfig) *Reader {
	if config.Timeout == 0 {
		config.Timeout = DefaultTimeout
	}
	return &Reader{config: config, kept: lastknown.New(config.Dir)}
}

// Read reads what a reference names. Where the source does not answer, or holds
// nothing under that name any more, it hands out the values that were read last,
// with LastKnown set; a config center that lost its data says nothing about what
// a standby should run with. Where the reference refuses that, or nothing was
// ever read, the error wraps ErrUnavailable or ErrMissing. The source gets at
// most four fifths of the time that the context has left, so that the answer
// comes in time also when that of the source does not.
func (r *Reader) Read(ctx context.Context, ref runbooks.Source) (Reading, error) {
	if ref.Kind == KindEtcd && ref.Endpoint == "" {
		ref.Endpoint = r.config.ConfigCenter
	}
	asked := time.Now().UTC()
	values, err := r.ask(ctx, ref)
	switch {
	case err == nil:
		reading := Reading{Values: values, Hash: Hash(ref, values), At: asked}
		if err := r.keep(ref, reading); err != nil {
			reading.Problem = err.Error()
		}
		return reading, nil
	case !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrMissing):
		return Reading{}, err
	case ref.Unavailable == refuse:
		return Reading{}, err
	}
	reading, ok := r.lastKnown(ref)
	if !ok {
		return Reading{}, fmt.Errorf("%w; no earlier value is kept", err)
	}
	reading.LastKnown, reading.Problem = true, err.Error()
	return reading, nil
}

func (r *Reader) ask(ctx context.Context, ref runbooks.Source) (Values, error) {
	if ref.Kind == KindValue {
		return Tidy(Values{KindValue: ref.Value})
	}
	source, ok := r.config.Sources[ref.Kind]
	if !ok {
		return nil, fmt.Errorf("there is no config source of kind %q", ref.Kind)
	}
	timeout := r.config.Timeout
	if deadline, has := ctx.Deadline(); has {
		timeout = min(timeout, time.Until(deadline)*4/5)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return source.Read(ctx, ref)
}

// keep keeps a reading. What stands in the runbook itself needs no keeping.
func (r *Reader) keep(ref runbooks.Source, reading Reading) error {
	if ref.Kind == KindValue {
		return nil
	}
	return r.kept.Put(identity(ref), lastknown.Copy{Content: []byte(canonical(reading.Values)), At: reading.At})
}

func (r *Reader) lastKnown(ref runbooks.Source) (Reading, bool) {
	c, ok := r.kept.Get(identity(ref))
	if !ok {
		return Reading{}, false
	}
	var values Values
	if json.Unmarshal(c.Content, &values) != nil || len(values) == 0 {
		return Reading{}, false
	}
	return Reading{Values: values, Hash: Hash(ref, values), At: c.At.UTC()}, true
}

// identity is what makes two references read the same thing. Secrets are no part of it.
func identity(ref runbooks.Source) string {
	return "settings " + strings.Join([]string{ref.Kind, ref.Endpoint, ref.User, ref.Key, ref.Prefix, ref.URL}, "\n")
}
