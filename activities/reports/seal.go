package reports

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// noSum stands where a report's own hash goes while the hash is computed.
var noSum = strings.Repeat("0", 2*sha256.Size)

var (
	errNoObject = errors.New("it is no JSON object, and only that can be sealed")
	// errNoSeal and errChanged are what is wrong with a report that is opened.
	errNoSeal  = errors.New("it carries no seal")
	errChanged = errors.New("it is not what was written: its bytes do not have its own hash")
)

// Seal shows that a report is the one that was written, and which one was
// written before it. It is the last field of the report's JSON.
type Seal struct {
	// Number is the place in the chain of the service, from 1.
	Number int64 `json:"number"`
	// Before is the report before it, and BeforeSHA256 that one's own hash; empty in the first.
	Before       string `json:"before,omitempty"`
	BeforeSHA256 string `json:"before_sha256,omitempty"`
	// Files are the hashes of the other files of the report, by extension.
	Files map[string]string `json:"files,omitempty"`
	// SHA256 is that of all bytes of the JSON, with 64 zeros in the place of this value. It stays the last field.
	SHA256 string `json:"sha256"`
}

// close adds the seal to a report and computes its hash. What is sealed twice
// in the same way has the same bytes.
func (s *Seal) close(report []byte) ([]byte, error) {
	s.SHA256 = noSum
	sealed, err := With(report, "seal", s)
	if err != nil {
		return nil, err
	}
	s.SHA256 = sum(sealed)
	at := bytes.LastIndex(sealed, []byte(noSum))
	copy(sealed[at:], s.SHA256)
	return sealed, nil
}

// open reads the seal of a report and checks the report against it.
func open(sealed []byte) (Seal, error) {
	var report struct {
		Seal *Seal `json:"seal"`
	}
	if err := json.Unmarshal(sealed, &report); err != nil {
		return Seal{}, errChanged // what was sealed was JSON
	}
	if report.Seal == nil {
		return Seal{}, errNoSeal
	}
	at := bytes.LastIndex(sealed, []byte(report.Seal.SHA256))
	if len(report.Seal.SHA256) != len(noSum) || at < 0 {
		return *report.Seal, errChanged
	}
	blank := bytes.Clone(sealed)
	copy(blank[at:], noSum)
	if sum(blank) != report.Seal.SHA256 {
		return *report.Seal, errChanged
	}
	return *report.Seal, nil
}

// With adds a last field to a JSON object, and leaves every other byte of it as it is.
func With(object []byte, name string, value any) ([]byte, error) {
	object = bytes.TrimSpace(object)
	body, ok := bytes.CutSuffix(object, []byte("}"))
	if !ok || !json.Valid(object) {
		return nil, errNoObject
	}
	text, err := json.MarshalIndent(value, "  ", "  ")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.Write(bytes.TrimSpace(body))
	if out.Len() > len("{") {
		out.WriteByte(',')
	}
	fmt.Fprintf(&out, "\n  %q: %s\n}\n", name, text)
	return out.Bytes(), nil
}

func sum(content []byte) string {
	digest := sha256.Sum256(content)
	return hex.EncodeToString(digest[:])
}
