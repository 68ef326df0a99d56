package libvirt

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The seed is read by a program that knows the format.
func TestSeedIsAFileSystem(t *testing.T) {
	if _, err := exec.LookPath("isoinfo"); err != nil {
		t.Skip("missing: isoinfo: apt-get install genisoimage")
	}
	document := "#cloud-config\n" + strings.Repeat("语音 x\n", 1000)
	file := filepath.Join(t.TempDir(), "seed.iso")
	if err := os.WriteFile(file, seedImage("0123456789abcdef", document), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/USER-DATA;1": document, "/META-DATA;1": "instance-id: 0123456789abcdef\nlocal-hostname: understudy-01234567\n"} {
		out, err := exec.Command("isoinfo", "-i", file, "-x", path).Output()
		if err != nil || string(out) != want {
			t.Errorf("%s: %v, %d bytes, want %d", path, err, len(out), len(want))
		}
	}
	out, err := exec.Command("isoinfo", "-d", "-i", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Volume id: CIDATA") {
		t.Errorf("%v: %s", err, out)
	}
}
