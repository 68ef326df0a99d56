package mountinfo

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

func TestAt(t *testing.T) {
	if types, err := At("/proc"); err != nil || !slices.Contains(types, "proc") {
		t.Errorf("/proc: %q, %v", types, err)
	}
	dir := filepath.Join(t.TempDir(), "a b\tc\\d")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if types, err := At(dir); err != nil || len(types) != 0 {
		t.Errorf("a plain directory: %q, %v", types, err)
	}
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("missing: the right to mount (%v)", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	if types, err := At(dir); err != nil || !slices.Equal(types, []string{"tmpfs"}) {
		t.Errorf("%q: %q, %v; want tmpfs", dir, types, err)
	}
}
