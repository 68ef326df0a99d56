package jobs

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Names of objects. docs/batches.md describes them for runners in other languages.
const (
	// Version of the layout.
	Version = 1
	// MaxItems is how many items a manifest may have: what nine digits can number.
	MaxItems = 1_000_000_000

	probeName = "conditional-writes" // beside the jobs, no job itself
	jobName   = "job.json"
	headName  = "head.json"

	resultsRoom  = "results"
	attemptsRoom = "attempts"
	partsRoom    = "parts"
	outputRoom   = "output"

	failedName      = "failed.json"
	quarantinedName = "quarantined.json"
	cutsName        = "cuts.json"

	suffix = ".json"
	// shard is how many items share a folder: stores that keep folders list one at a time.
	shard = 1000
)

// IDs of jobs are parts of keys and of workflow ids.
var idPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// CheckID says what is wrong with the id of a job; nil where nothing is.
func CheckID(id string) error {
	if !idPattern.MatchString(id) {
		return invalid("the job id %q: use 1 to 63 lower-case letters, digits and dashes, a letter or digit at both ends", id)
	}
	return nil
}

var (
	variantPattern  = regexp.MustCompile(`^[a-z0-9]{1,32}$`)
	manifestPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.jsonl$`)
	sessionPattern  = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)
)

// place is the path of an item within a room, without a suffix: its number in
// nine digits, below its thousand, so that the order of the keys is that of the items.
func place(item int64) string { return fmt.Sprintf("%06d/%09d", item/shard, item) }

// number is the number of an item as it stands in keys and as its custom_id.
func number(item int64) string { return fmt.Sprintf("%09d", item) }

func resultKey(job, variant string, item int64) string {
	return room(job, resultsRoom, variant) + place(item) + suffix
}

func attemptKey(job, variant string, item int64, name string) string {
	return room(job, attemptsRoom, variant) + place(item) + "/" + name
}

func partKey(job, variant string, item int64, name string) string {
	return room(job, partsRoom, variant) + place(item) + "/" + name
}

func room(job, name, variant string) string { return job + "/" + name + "/" + variant + "/" }

// attemptName is the name of the n-th attempt, from 1.
func attemptName(n int) string { return fmt.Sprintf("%03d.json", n) }

func partName(n int) string { return fmt.Sprintf("%04d.json", n) }

// parsePlace takes the number of the item from a key behind its room; rest is
// what follows the number. Keys that no runner writes are not ok.
func parsePlace(text string) (item int64, rest string, ok bool) {
	const digits = 6 + 1 + 9
	if len(text) < digits {
		return 0, "", false
	}
	item, err := strconv.ParseInt(text[7:digits], 10, 64)
	if err != nil || place(item) != text[:digits] {
		return 0, "", false
	}
	return item, text[digits:], true
}

// parseAttempt takes the number of an attempt from its name.
func parseAttempt(name string) (int, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n > 0 && attemptName(n) == name
}
