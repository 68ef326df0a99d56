// Package secrets turns references to secrets into the secrets, at the moment
// and in the place where they are used.
//
// Runbooks, histories, logs and pages hold references only. What [Resolve]
// returns stays in the memory of its caller; errors name the reference and
// never the content. A file is read anew each time, so that a rotated secret
// needs no restart.
package secrets

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/understudy-dr/understudy/runbooks"
)

// MaxSize is the most that a secret may hold, in bytes. Keys and tokens are far
// smaller; what is bigger is the wrong file.
const MaxSize = 64 << 10

// ErrUnresolved means that a reference leads to no secret. The error that wraps
// it says which reference, and what to do.
var ErrUnresolved = errors.New("secret not available")

// Resolve returns the secret that a reference names. A file's final newline is
// cut off. No reference at all, and an empty secret, are ErrUnresolved: where a
// secret is optional, the caller asks IsZero first, so that nothing is ever
// signed or sent with an empty one by mistake.
func Resolve(s runbooks.Secret) (string, error) {
	var (
		secret string
		err    error
	)
	switch {
	case s.File != "":
		secret, err = fromFile(s.File)
	case s.Env != "":
		secret, err = fromEnv(s.Env)
	default:
		err = errors.New("no reference was configured; name a file or an environment variable")
	}
	if err == nil && secret == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrUnresolved, s, err)
	}
	return secret, nil
}

// Concern says what is unwise about the way in which a secret is kept, for
// readiness and validate to pass on; empty where there is nothing to say. It
// is never a reason to refuse the secret.
func Concern(s runbooks.Secret) string {
	if s.File == "" {
		return ""
	}
	info, err := os.Stat(s.File)
	if err != nil || info.Mode().Perm()&0o004 == 0 {
		return ""
	}
	return fmt.Sprintf("%s may be read by every user of this machine; chmod o-r it", s)
}

func fromFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", bare(err)
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("it is no regular file") // a pipe could block for ever, and gives its content once
	}
	f, err := os.Open(path)
	if err != nil {
		return "", bare(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return "", bare(err)
	}
	if len(content) > MaxSize {
		return "", fmt.Errorf("it holds more than %d KiB, which is no secret", MaxSize>>10)
	}
	secret, cut := strings.CutSuffix(string(content), "\n")
	if cut {
		secret = strings.TrimSuffix(secret, "\r")
	}
	return secret, nil
}

func fromEnv(name string) (string, error) {
	secret, set := os.LookupEnv(name)
	if !set {
		return "", errors.New("it is not set")
	}
	return secret, nil
}

// bare takes the path out of an error, because the reference says it already.
func bare(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}
