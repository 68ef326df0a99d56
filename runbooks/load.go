package runbooks

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
)

// MaxSnapshot is the most that a runbook may weigh as JSON: each recovery's
// input carries one, and histories must stay small.
const MaxSnapshot = 64 << 10

// ParseRunbook reads one runbook and fills in the defaults. It returns every
// problem of the file at once; the runbook is usable where Problems.Err is nil.
func ParseRunbook(file string, text []byte) (Runbook, Problems) {
	r, d := parseRunbook(file, text)
	return r, d.problems.sorted()
}

func parseRunbook(file string, text []byte) (Runbook, *decoder) {
	var r Runbook
	d := decode(file, text, &r)
	d.check(&r)
	r.fill()
	if snapshot, err := json.Marshal(r); err == nil && len(snapshot) > MaxSnapshot {
		d.at(position{1, 1}, "", "the runbook weighs %d bytes as JSON; at most %d travel with a recovery", len(snapshot), MaxSnapshot)
	}
	return r, d
}

// ParseSite reads the site file and fills in the defaults, as ParseRunbook does.
func ParseSite(file string, text []byte) (Site, Problems) {
	var s Site
	d := decode(file, text, &s)
	d.checkSite(&s)
	s.fill()
	dir := filepath.Dir(file)
	for i, path := range s.Runbooks {
		if !filepath.IsAbs(path) {
			s.Runbooks[i] = filepath.Join(dir, path)
		}
	}
	return s, d.problems.sorted()
}

// LoadSite reads the site file at a path. Without a path it is the site file
// that says nothing: defaults everywhere.
func LoadSite(path string) (Site, Problems) {
	if path == "" {
		s := Site{APIVersion: APIVersion}
		s.fill()
		return s, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Site{}, Problems{unreadable(path, err)}
	}
	return ParseSite(path, text)
}

// Hash identifies what a runbook says, whatever its file looks like.
func (r Runbook) Hash() string {
	text, err := json.Marshal(r)
	if err != nil {
		panic("runbooks: a runbook has no JSON: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}
