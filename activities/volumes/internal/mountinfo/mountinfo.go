// Package mountinfo tells what is mounted where, without touching any mount: a
// mount whose server does not answer would block whoever looks at it.
package mountinfo

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// table lists the mounts of this process's mount namespace.
const table = "/proc/self/mountinfo"

// At returns the types of the file systems that are mounted at a path, such as
// fuse.s3fs, the lowest first; none where the path is no mount point.
func At(path string) ([]string, error) {
	f, err := os.Open(table)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var types []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// "36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/root rw": the number of fields before the dash varies.
		mount, fs, ok := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(mount)
		if ok && len(fields) > 4 && unescape(fields[4]) == path {
			kind, _, _ := strings.Cut(fs, " ")
			types = append(types, kind)
		}
	}
	return types, lines.Err()
}

// unescape turns the octal escapes of the table (\040 for a blank) into what they stand for.
func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if code, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(code))
				i += 3
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
