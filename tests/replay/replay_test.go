package replay

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/workflows"
)

// again is what to do about a history that is not there.
const again = "make histories records it; a workflow that no scene runs needs one more line in tests/replay/record/scenes.go"

// histories are all recorded ones, by the names of their files.
func histories(t *testing.T) map[string]*historypb.History {
	t.Helper()
	all := map[string]*historypb.History{}
	err := filepath.WalkDir("testdata", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, _ := filepath.Rel("testdata", path)
		if !strings.HasSuffix(name, Extension) {
			t.Errorf("testdata holds %s, which is no packed history (*%s)", name, Extension)
			return nil
		}
		all[strings.TrimSuffix(name, Extension)], err = Read(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("testdata holds no histories; " + again)
	}
	return all
}

// What was recorded must go on with the code as it is now.
func TestRecordedHistoriesReplay(t *testing.T) {
	for name, h := range histories(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := Replay(h); err != nil {
				t.Errorf("a %s that runs when Understudy is upgraded would be stuck: %v", Type(h), err)
			}
		})
	}
}

// registered collects the names of the workflows that there are.
type registered map[string]bool

func (r registered) RegisterWorkflowWithOptions(_ any, options workflow.RegisterOptions) {
	r[options.Name] = true
}

func TestEveryWorkflowIsRecorded(t *testing.T) {
	types, recorded := registered{}, map[string]int{}
	workflows.Register(types)
	for _, h := range histories(t) {
		recorded[Type(h)]++
	}
	for _, name := range slices.Sorted(maps.Keys(types)) {
		if recorded[name] == 0 {
			t.Errorf("no history of %s is recorded; %s", name, again)
		}
	}
	t.Logf("histories: %v", recorded)
}

func TestNoSecretIsRecorded(t *testing.T) {
	for name, h := range histories(t) {
		for _, found := range Secrets(h, os.Environ()) {
			t.Errorf("%s: %s", name, found)
		}
	}
}
