package runbooks

import (
	"fmt"
	"time"
)

// APIVersion is the only format of runbooks and site files that there is.
const APIVersion = "understudy/v1"

// Duration is a time span as people write it: 400ms, 2s, 1h30m (Go's duration
// syntax). In JSON and in workflow histories it is the same text.
type Duration time.Duration

// D returns the span as the standard library's type.
func (d Duration) D() time.Duration { return time.Duration(d) }

// Or returns the span, or fallback where none was given.
func (d Duration) Or(fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return time.Duration(d)
}

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes the span in Go's duration syntax.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads Go's duration syntax; a negative span is an error.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration: write a number with a unit, such as 400ms, 2s or 1h30m", text)
	}
	if parsed < 0 {
		return fmt.Errorf("%q is negative: a duration is zero or more", text)
	}
	*d = Duration(parsed)
	return nil
}

// Secret is a reference to a secret, never the secret itself: runbooks travel
// through histories, logs and pages. It is resolved only where it is used.
type Secret struct {
	// File is the path of a file that holds the secret; a final newline is cut off.
	File string `json:"file,omitempty"`
	// Env is the name of an environment variable that holds the secret.
	Env string `json:"env,omitempty"`
}

// IsZero reports whether no reference was given.
func (s Secret) IsZero() bool { return s == Secret{} }

// String names the reference, which is harmless to print.
func (s Secret) String() string {
	switch {
	case s.File != "":
		return "file " + s.File
	case s.Env != "":
		return "environment variable " + s.Env
	default:
		return "no secret"
	}
}
