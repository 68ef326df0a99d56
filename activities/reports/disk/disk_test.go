package disk_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/activities/reports/disk"
	"github.com/understudy-dr/understudy/activities/reports/reportstest"
)

func TestStore(t *testing.T) {
	reportstest.Run(t, func(t *testing.T) func() reports.Store {
		dir := filepath.Join(t.TempDir(), "not", "there", "yet")
		return func() reports.Store { return disk.New(dir) }
	})
}

func TestWhatElseIsInTheDirectoryIsNoReport(t *testing.T) {
	outside, dir := filepath.Join(t.TempDir(), "secret"), t.TempDir()
	store := disk.New(dir)
	if err := errors.Join(
		os.WriteFile(outside, []byte("secret"), 0o600),
		os.WriteFile(filepath.Join(dir, ".writing-123"), []byte("half"), 0o600),
		os.WriteFile(filepath.Join(dir, "two words"), []byte("x"), 0o600),
		os.Symlink(dir, filepath.Join(dir, "loop")),
		os.Mkdir(filepath.Join(dir, "directory"), 0o755),
		store.Write(t.Context(), "fun-asr/7.json", []byte("x")),
	); err != nil {
		t.Fatal(err)
	}
	if names, err := store.List(t.Context(), ""); err != nil || len(names) != 1 || names[0] != "fun-asr/7.json" {
		t.Errorf("listed %q, %v", names, err)
	}
	if _, err := store.Read(t.Context(), "directory"); !errors.Is(err, reports.ErrNone) {
		t.Errorf("a directory: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "fun-asr", "7.json"))
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("people cannot read it: %v, %v", info.Mode(), err)
	}
}
