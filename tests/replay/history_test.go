package replay

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"
)

func TestPackingLosesNothingAndIsRepeatable(t *testing.T) {
	dir := t.TempDir()
	for name, h := range histories(t) {
		var packed [2][]byte
		for i := range packed {
			path := filepath.Join(dir, filepath.Base(name)+Extension)
			if err := Write(path, h); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			packed[i] = text
			again, err := Read(path)
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(h, again) {
				t.Errorf("%s is another one after it was packed and unpacked", name)
			}
		}
		if !bytes.Equal(packed[0], packed[1]) {
			t.Errorf("%s was packed twice, and differs", name)
		}
		// Flags, then four bytes of time: RFC 1952, 2.3.
		if header := packed[0][3:8]; !bytes.Equal(header, make([]byte, 5)) {
			t.Errorf("the header of %s names a file or a time: % x", name, header)
		}
	}
}

func TestWhatIsNoHistory(t *testing.T) {
	for name, content := range map[string]string{"empty": "", "not packed": `{"events":[]}`} {
		path := filepath.Join(t.TempDir(), "x"+Extension)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if h, err := Read(path); err == nil {
			t.Errorf("%s: read as %v", name, h)
		}
	}
	if h, err := Read(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Errorf("no file: read as %v", h)
	}
}
