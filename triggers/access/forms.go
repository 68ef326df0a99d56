package access

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/atomicfile"
)

// FormField is the name of the field with which a form carries its token.
const FormField = "form_token"

const (
	// formFor is how long a page may lie open before its forms are stale.
	formFor = 12 * time.Hour
	// formKeySize in bytes.
	formKeySize = 32
)

// forms makes and checks the tokens of forms: who sends one has read the page,
// which a foreign site cannot.
type forms struct{ key []byte }

// openForms reads the key from a data directory, or makes it: tokens outlive a restart.
func openForms(dataDir string) (forms, error) {
	path := filepath.Join(dataDir, "form.key")
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(key) != formKeySize {
		key = make([]byte, formKeySize)
		_, _ = rand.Read(key) // never fails: package crypto/rand
		err = atomicfile.Write(path, key, 0o600)
	}
	if err != nil {
		return forms{}, fmt.Errorf("keep the key of forms: %w", err)
	}
	return forms{key}, nil
}

// token is for one person's forms, from now on.
func (f forms) token(name string, now time.Time) string {
	until := strconv.FormatInt(now.Add(formFor).Unix(), 36)
	return until + "." + f.sign(name, until)
}

// right reports whether a token is this person's, and not stale.
func (f forms) right(token, name string, now time.Time) bool {
	until, signature, _ := strings.Cut(token, ".")
	at, err := strconv.ParseInt(until, 36, 64)
	return err == nil && now.Before(time.Unix(at, 0)) && hmac.Equal([]byte(signature), []byte(f.sign(name, until)))
}

func (f forms) sign(name, until string) string {
	mac := hmac.New(sha256.New, f.key)
	fmt.Fprintf(mac, "%q %s", name, until)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
