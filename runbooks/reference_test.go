package runbooks_test

import (
	"os"
	"testing"

	"github.com/understudy-dr/understudy/runbooks"
)

func TestReferencePagesAreNew(t *testing.T) {
	for file, site := range map[string]bool{"../docs/runbook-reference.md": false, "../docs/site-reference.md": true} {
		want, err := runbooks.Reference(site)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil || string(got) != want {
			t.Errorf("%s is not what the types say (%v); write it anew with: make docs", file, err)
		}
	}
}
