package litestream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/runbooks"
)

// name is the name of a file in a bucket.
func name(level int, first, last txid) string {
	return fmt.Sprintf("%04x/%s-%s.ltx", level, first, last)
}

func TestEnd(t *testing.T) {
	for _, test := range []struct {
		what  string
		names []string
		limit txid
		want  string // empty where nothing can be restored
	}{
		{"nothing", nil, 0, ""},
		{"the first only", []string{name(0, 1, 1)}, 0, name(0, 1, 1)},
		{"one after the other", []string{name(0, 3, 3), name(0, 1, 1), name(0, 2, 2)}, 0, name(0, 3, 3)},
		{"the first is missing", []string{name(0, 2, 2), name(0, 3, 3)}, 0, ""},
		{"a gap", []string{name(0, 1, 1), name(0, 2, 2), name(0, 4, 4)}, 0, name(0, 2, 2)},
		{"a gap that a merged file fills", []string{name(0, 1, 1), name(0, 4, 4), name(1, 2, 3)}, 0, name(0, 4, 4)},
		{"a snapshot and what follows", []string{name(9, 1, 7), name(0, 8, 8), name(0, 9, 9)}, 0, name(0, 9, 9)},
		{"files overlap", []string{name(9, 1, 5), name(1, 3, 9), name(0, 9, 9), name(0, 10, 10)}, 0, name(0, 10, 10)},
		{"the least merged tells the time best", []string{name(9, 1, 4), name(1, 1, 4), name(0, 4, 4), name(0, 1, 3)}, 0, name(0, 4, 4)},
		{"limit", []string{name(0, 1, 1), name(0, 2, 2), name(0, 3, 3)}, 2, name(0, 2, 2)},
		{"limit within a merged file", []string{name(0, 1, 1), name(1, 2, 9)}, 5, name(0, 1, 1)},
		{"limit past the end", []string{name(0, 1, 1)}, 5, name(0, 1, 1)},
		{"on a disk", []string{"ltx/9/0000000000000001-0000000000000005.ltx", "ltx/0/0000000000000006-0000000000000006.ltx"}, 0, "ltx/0/0000000000000006-0000000000000006.ltx"},
		{"strangers", []string{
			"0000/0000000000000001-0000000000000001.ltx.tmp", "0000/1-1.ltx", "000a/0000000000000001-0000000000000001.ltx", "x/0000/0000000000000001-0000000000000001.ltx",
			"0000/0000000000000002-0000000000000001.ltx", "0000/0000000000000000-0000000000000001.ltx", "0000/000000000000000G-000000000000000G.ltx", "generations/x",
		}, 0, ""},
		{"the largest numbers", []string{name(9, 1, 1<<64-2), name(0, 1<<64-1, 1<<64-1)}, 0, name(0, 1<<64-1, 1<<64-1)},
	} {
		got, ok := end(parseFiles(test.names), test.limit)
		if got.name != test.want || ok != (test.want != "") {
			t.Errorf("%s: got %q, %v; want %q", test.what, got.name, ok, test.want)
		}
	}
}

func TestTXID(t *testing.T) {
	if id, err := parseTXID("00000000000000ff"); err != nil || id != 255 || id.String() != "00000000000000ff" {
		t.Errorf("got %v, %v", id, err)
	}
	for _, bad := range []string{"", "ff", "0000000000000000", "-000000000000001", "000000000000000g", "0x00000000000001", strings.Repeat("f", 17)} {
		if id, err := parseTXID(bad); err == nil {
			t.Errorf("%q became %v", bad, id)
		}
	}
}

func TestParseHeader(t *testing.T) {
	f := file{min: 3, max: 7}
	head := make([]byte, headerSize)
	copy(head, magic)
	binary.BigEndian.PutUint64(head[offsetMin:], 3)
	binary.BigEndian.PutUint64(head[offsetMax:], 7)
	want := time.Date(2026, 11, 21, 3, 4, 5, 678e6, time.UTC)
	binary.BigEndian.PutUint64(head[offsetMillis:], uint64(want.UnixMilli()))
	if got, err := parseHeader(head, f); err != nil || !got.Equal(want) {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	for what, bad := range map[string][]byte{"short": head[:headerSize-1], "empty": nil, "other format": append([]byte("LTX2"), head[4:]...)} {
		if got, err := parseHeader(bad, f); err == nil {
			t.Errorf("%s: %s", what, got)
		}
	}
	if got, err := parseHeader(head, file{min: 3, max: 8}); err == nil {
		t.Errorf("other transactions than its name says: %s", got)
	}
}

func TestAReplicaOfLitestream03IsToldSo(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "epoch-1", "generations", "0123456789abcdef", "snapshots")
	if err := errors.Join(os.MkdirAll(old, 0o755), os.WriteFile(filepath.Join(old, "00000000.snapshot.lz4"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	_, err := New(Config{}).Look(t.Context(), runbooks.Data{Replica: "file://" + dir}, 1)
	if !errors.Is(err, replica.ErrNone) || !strings.Contains(err.Error(), "0.3") {
		t.Errorf("got %v, want ErrNone that says so", err)
	}
}
