package audit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-dr/understudy/triggers/audit"
)

func open(t *testing.T, path string, log *slog.Logger) *audit.Log {
	t.Helper()
	l, err := audit.Open(path, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
}

func TestEachDecisionIsOneLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "audit.log")
	var told bytes.Buffer
	l := open(t, path, slog.New(slog.NewJSONHandler(&told, nil)))
	if err := l.Record(audit.Entry{
		Who: "anna", Role: "approver", From: "10.0.0.7", Did: "approve", On: "fun-asr-7", Plan: "abc", Reason: "two\nlines\u2028<b>", Result: audit.Done, Text: "cold is made",
	}); err != nil {
		t.Fatal(err)
	}
	got := lines(t, path)
	if len(got) != 1 {
		t.Fatalf("%d lines: %q", len(got), got)
	}
	var kept audit.Entry
	if err := json.Unmarshal([]byte(got[0]), &kept); err != nil || kept.Who != "anna" || kept.Plan != "abc" || kept.Reason != "two\nlines\u2028<b>" || kept.At.IsZero() {
		t.Errorf("%v: %+v", err, kept)
	}
	if !strings.Contains(told.String(), `"who":"anna"`) || !strings.Contains(told.String(), `"plan":"abc"`) {
		t.Errorf("the log says %s", told.String())
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestALineThatACrashCutOffStaysAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte("{\"who\":\"a\"}\n{\"who\":\"b\",\"did"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"c", "d"} {
		l := open(t, path, slog.New(slog.DiscardHandler))
		if err := l.Record(audit.Entry{Who: who}); err != nil {
			t.Fatal(err)
		}
	}
	got := lines(t, path)
	if len(got) != 4 || got[1] != `{"who":"b","did` || !strings.Contains(got[2], `"c"`) || !strings.Contains(got[3], `"d"`) {
		t.Errorf("%q", got)
	}
}

func TestManyAtOnceAreNotMixed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, path, slog.New(slog.DiscardHandler))
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if err := l.Record(audit.Entry{Who: fmt.Sprint(i), Reason: strings.Repeat("x", 5000)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, line := range lines(t, path) {
		var e audit.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		seen[e.Who] = true
	}
	if len(seen) != 40 {
		t.Errorf("%d of 40", len(seen))
	}
}

func TestAFileThatCannotBeWrittenIsAnError(t *testing.T) {
	if _, err := audit.Open(t.TempDir(), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a directory was opened as a file")
	}
	l := open(t, filepath.Join(t.TempDir(), "audit.log"), slog.New(slog.DiscardHandler))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Record(audit.Entry{Who: "anna"}); err == nil {
		t.Error("a line was lost without an error")
	}
}
