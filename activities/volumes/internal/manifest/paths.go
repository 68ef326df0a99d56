package manifest

import (
	"fmt"
	"io/fs"
	"strings"
	"unicode/utf8"
)

// maxPath is the longest path of a file, in bytes; S3 allows no longer keys.
const maxPath = 1024

// CheckPath refuses the path of a file that would lead out of its directory,
// cannot be a name here, or would break the manifest's lines.
func CheckPath(name string) error {
	switch {
	case len(name) > maxPath:
		return fmt.Errorf("%.80q... is longer than %d bytes", name, maxPath)
	case !utf8.ValidString(name):
		return fmt.Errorf("%q is not UTF-8", name)
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("%q has control characters", name)
	case strings.Contains(name, `\`):
		return fmt.Errorf("%q has a backslash, which sha256sum writes in another way", name)
	case name == "." || !fs.ValidPath(name):
		return fmt.Errorf("%q is no relative path below the directory", name)
	}
	return nil
}
