package reports_test

import (
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/activities/reports"
)

func TestBegins(t *testing.T) {
	longest := strings.Repeat("a", 200)
	for _, prefix := range []string{"", "f", "fun-asr", "fun-asr-", "fun-asr/", "fun-asr/7.", longest, longest + "/"} {
		if !reports.Begins(prefix) {
			t.Errorf("no name begins with %q", prefix)
		}
	}
	for _, prefix := range []string{"/", ".", "../", "a//", "a/.", "a b", "\n", longest + "a", strings.Repeat("a/", 257)} {
		if reports.Begins(prefix) {
			t.Errorf("a name begins with %q", prefix)
		}
	}
}
