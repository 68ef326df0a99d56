package witness

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"
)

const (
	headerTime      = "Understudy-Timestamp"
	headerNonce     = "Understudy-Nonce"
	headerSignature = "Understudy-Signature"

	// MinKey is the shortest key that is taken, in bytes.
	MinKey = 16
	// Window is how far two clocks may be apart, and so how long a request could be played again.
	Window = 60 * time.Second
)

// The two directions are signed apart, so that no answer passes for a request.
const (
	question = "understudy witness question v1"
	answer   = "understudy witness answer v1"
)

var errUnsigned = errors.New("its answer is not signed with our key; both sides need the same one")

// sign makes the signature of a message, in hexadecimal. Each part but the last
// stands on a line of its own and holds no line break.
func sign(key []byte, direction, nonce string, at int64, status int, body []byte) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s\n%s\n%d\n%d\n", direction, nonce, at, status)
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

func isSigned(key []byte, given, direction, nonce string, at int64, status int, body []byte) bool {
	return hmac.Equal([]byte(given), []byte(sign(key, direction, nonce, at, status, body)))
}

func newNonce() string {
	random := make([]byte, 16)
	_, _ = rand.Read(random) // never fails: the program ends where the system has no randomness
	return hex.EncodeToString(random)
}

// isNonce keeps what is remembered, and signed, small and on one line.
func isNonce(text string) bool {
	decoded, err := hex.DecodeString(text)
	return err == nil && len(decoded) == 16
}

func parseTime(text string) (int64, error) { return strconv.ParseInt(text, 10, 64) }

// apart tells how far a clock is from ours, and the empty text where that is no hindrance.
func apart(theirs, ours int64) string {
	if d := theirs - ours; d > int64(Window.Seconds()) || -d > int64(Window.Seconds()) {
		return fmt.Sprintf("its clock and ours are %s apart, more than %s; set both by a time server",
			(time.Duration(max(d, -d)) * time.Second), Window)
	}
	return ""
}

func checkKey(key []byte) error {
	if len(bytes.TrimSpace(key)) < MinKey {
		return fmt.Errorf("the witness's key is shorter than %d bytes; make one with: openssl rand -hex 32", MinKey)
	}
	return nil
}
