package settings

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/understudy-dr/understudy/runbooks"
)

// unescape takes back the two escapes that encoding/json adds to what JSON asks
// for. It reads pairs of backslashes first, so that it sees no escape where a
// text has a backslash of its own.
var unescape = strings.NewReplacer(`\\`, `\\`, `\u2028`, "\u2028", `\u2029`, "\u2029")

// Hash is what readings are compared by, in lower-case hex. Where a reference
// names one value it is the SHA-256 of that, as sha256sum prints it. Where it
// names a prefix it is the SHA-256 of one JSON object of all keys and values:
// keys sorted by their bytes, no spaces, nothing escaped but what JSON demands.
// An instance computes the same of what it runs with, for example in Python by
// json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":")).
func Hash(ref runbooks.Source, values Values) string {
	var text string
	if ref.Kind == KindEtcd && ref.Prefix != "" {
		text = canonical(values)
	} else {
		for _, value := range values {
			text = value
		}
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func canonical(values Values) string {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(values) // a map of strings always encodes, with its keys sorted
	return unescape.Replace(strings.TrimSuffix(text.String(), "\n"))
}
