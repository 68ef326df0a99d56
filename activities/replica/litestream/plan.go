package litestream

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
)

// oldDir is what Litestream 0.3 kept its files in.
const oldDir = "generations/"

// txid numbers the transactions of a database, from 1.
type txid uint64

// String is the form in which Litestream writes transaction ids.
func (t txid) String() string { return fmt.Sprintf("%016x", uint64(t)) }

func parseTXID(text string) (txid, error) {
	n, err := strconv.ParseUint(text, 16, 64)
	if err != nil || n == 0 || len(text) != 16 {
		return 0, fmt.Errorf("%q is no transaction id of 16 hexadecimal digits", text)
	}
	return txid(n), nil
}

// file holds the changes of the transactions min to max. One that begins with
// the first is a whole database.
type file struct {
	name     string
	level    int
	min, max txid
}

// fileName is <level of merging>/<first transaction>-<last transaction>.ltx; the level is 0009 in a bucket, and
// ltx/9 on a disk.
var fileName = regexp.MustCompile(`^(?:ltx/|000)([0-9])/([0-9a-f]{16})-([0-9a-f]{16})\.ltx$`)

// parseFiles keeps those names that are Litestream's.
func parseFiles(names []string) []file {
	var files []file
	for _, name := range names {
		match := fileName.FindStringSubmatch(path.Clean(name))
		if match == nil {
			continue
		}
		level, _ := strconv.Atoi(match[1])
		first, err1 := parseTXID(match[2])
		last, err2 := parseTXID(match[3])
		if err1 == nil && err2 == nil && first <= last {
			files = append(files, file{name: name, level: level, min: first, max: last})
		}
	}
	return files
}

// end finds the last transaction up to which a database can be put together, not
// past the limit where there is one, and the least merged file that ends with it,
// which tells best when that was. False where not even the first is there.
func end(files []file, limit txid) (file, bool) {
	var last file
	for found := true; found; {
		next := last
		for _, f := range files {
			if follows := f.min <= last.max+1 && (limit == 0 || f.max <= limit); follows && f.max > next.max {
				next = f
			}
		}
		found, last = next.max > last.max, next
	}
	for _, f := range files {
		if f.max == last.max && f.level < last.level {
			last = f
		}
	}
	return last, last.max > 0
}
