package replay

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"
)

// tokens are secrets that can be told by their looks. On the wire, what stands
// before a text may well look like a letter, so none asks for the edge of a word.
var tokens = regexp.MustCompile(`xox[a-z]-[\w-]+|xapp-[\w-]+` + // Slack
	`|hooks\.slack\.com/services/\w+|webhook/send\?key=[\w-]+` + // addresses that are secrets
	`|A(?:KIA|SIA)[A-Z0-9]{16}` + // AWS
	`|-----BEGIN [A-Z ]*PRIVATE KEY` +
	`|(?i:(?:bearer|basic)\s+[\w.+/=-]{16,})` + // headers of HTTP
	`|eyJ[\w-]{10,}\.[\w-]{10,}\.` + // JSON web tokens
	`|[a-z]://[^\s/"@:]+:[^\s/"@]+@` + // URLs with a password
	`|(?i:(?:password|passwd|secret[_-]?key|api[_-]?key|access[_-]?token)\\?"?\s*[:=]\s*\\?"?[\w.+/-]{6,})`)

// hiding are names of environment variables that hold secrets.
var hiding = regexp.MustCompile(`(?i)token|secret|passw|credential|api_?key|access_?key|private`)

// shortest is from which length on a value is looked for: a shorter one would be found everywhere.
const shortest = 8

// Secrets looks through a history, payloads and all, for what looks like a
// secret, and for the values of the environment variables given, as os.Environ
// gives them, whose names say that they hold one. It returns where each was
// found, without the secret itself.
func Secrets(h *historypb.History, environ []string) []string {
	var found []string
	for _, event := range h.GetEvents() {
		// On the wire a payload's bytes are as they were written; in JSON they would be packed.
		wire, err := proto.Marshal(event)
		if err != nil {
			return []string{err.Error()}
		}
		tell := func(what string) {
			found = append(found, fmt.Sprintf("event %d, %s: %s", event.GetEventId(), event.GetEventType(), what))
		}
		if at := tokens.FindIndex(wire); at != nil {
			tell(fmt.Sprintf("what begins with %q looks like a secret", wire[at[0]:min(at[0]+6, at[1])]))
		}
		for _, variable := range environ {
			name, value, _ := strings.Cut(variable, "=")
			if len(value) >= shortest && hiding.MatchString(name) && !isFile(value) && strings.Contains(string(wire), value) {
				tell("the value of " + name)
			}
		}
	}
	return found
}

// isFile reports whether a value is the path of a file, as of one that holds the secret.
func isFile(value string) bool {
	_, err := os.Stat(value)
	return err == nil
}
