package epoch_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/epoch"
)

func record(n int64, holder, active string) epoch.Record {
	return epoch.Record{Service: "fun-asr", Epoch: n, Holder: holder, Active: active, At: time.Unix(1_700_000_000, 0).UTC()}
}

func TestDecide(t *testing.T) {
	later := record(7, "a", "")
	later.At = later.At.Add(time.Hour)
	current := record(7, "a", "hot")
	for _, test := range []struct {
		name    string
		current *epoch.Record
		next    epoch.Record
		kept    epoch.Record
		changed bool
		held    bool
	}{
		{name: "first", next: record(7, "a", ""), kept: record(7, "a", ""), changed: true},
		{name: "grows", current: &current, next: record(8, "b", ""), kept: record(8, "b", ""), changed: true},
		{name: "jumps", current: &current, next: record(1_700_000_000, "b", ""), kept: record(1_700_000_000, "b", ""), changed: true},
		{name: "repeated", current: &current, next: record(7, "a", "hot"), kept: current},
		{name: "first write arrives late", current: &current, next: later, kept: current},
		{name: "active moves", current: &current, next: record(7, "a", "primary"), kept: record(7, "a", "primary"), changed: true},
		{name: "other holder", current: &current, next: record(7, "b", "hot"), kept: current, held: true},
		{name: "older", current: &current, next: record(6, "a", ""), kept: current, held: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			kept, changed, err := epoch.Decide(test.current, test.next)
			if !reflect.DeepEqual(kept, test.kept) || changed != test.changed {
				t.Errorf("kept %+v, changed %v", kept, changed)
			}
			var held *epoch.HeldError
			if errors.As(err, &held) != test.held || (test.held && !reflect.DeepEqual(held.Current, current)) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// A recovery that another engine runs is not overtaken by a higher epoch, until
// it has ended or is too old to be still running.
func TestDecideOvertaking(t *testing.T) {
	ours, theirs := epoch.HeldBy("recovery/fun-asr/9", "host-a/1"), epoch.HeldBy("recovery/fun-asr/7", "host-b/2")
	for _, test := range []struct {
		name    string
		current epoch.Record
		age     time.Duration
		held    bool
	}{
		{"it runs", record(7, theirs, ""), time.Minute, true},
		{"it runs, and its clock is ahead", record(7, theirs, ""), -time.Minute, true},
		{"it has ended", record(7, theirs, "hot"), time.Minute, false},
		{"it must have died", record(7, theirs, ""), epoch.Patience, false},
		{"its clock is nonsense", record(7, theirs, ""), -24 * time.Hour, false},
		{"it is our own", record(7, epoch.HeldBy("recovery/fun-asr/7", "host-a/1"), ""), time.Minute, false},
		{"it names no engine", record(7, "somebody", ""), time.Minute, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			next := record(9, ours, "")
			next.At = test.current.At.Add(test.age)
			kept, changed, err := epoch.Decide(&test.current, next)
			var held *epoch.HeldError
			if errors.As(err, &held) != test.held || changed == test.held {
				t.Fatalf("kept %+v, changed %v, %v", kept, changed, err)
			}
			if test.held && (held.Current != test.current || !strings.Contains(err.Error(), "host-b/2") || !strings.Contains(err.Error(), "has not ended")) {
				t.Errorf("it says: %v", err)
			}
		})
	}
}

func TestEncodeAndDecode(t *testing.T) {
	want := record(7, "recovery/fun-asr/7 @ 语音\n\"engine\"", "hot")
	text, err := epoch.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := epoch.Decode("fun-asr", text); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, text := range []string{
		"", "null", "{}", "[]", "<html>404</html>", string(text[:len(text)-5]), string(text) + "x",
		`{"service":"other","epoch":7,"holder":"a"}`, `{"service":"fun-asr","epoch":0,"holder":"a"}`,
		`{"service":"fun-asr","epoch":-1,"holder":"a"}`, `{"service":"fun-asr","epoch":7}`, `{"service":"fun-asr","epoch":99999999999999999999,"holder":"a"}`,
	} {
		if got, err := epoch.Decode("fun-asr", []byte(text)); err == nil || !strings.Contains(err.Error(), "by hand") {
			t.Errorf("%q became %+v, %v", text, got, err)
		}
	}
}

func TestCheck(t *testing.T) {
	if err := record(1, "a", "").Check(); err != nil {
		t.Error(err)
	}
	for _, bad := range []epoch.Record{
		record(0, "a", ""), record(-1, "a", ""), record(1, "", ""), record(1, strings.Repeat("h", 1001), ""),
		{Service: "", Epoch: 1, Holder: "a"}, {Service: "../x", Epoch: 1, Holder: "a"}, {Service: "a/b", Epoch: 1, Holder: "a"},
		{Service: "A", Epoch: 1, Holder: "a"}, {Service: "a\n", Epoch: 1, Holder: "a"}, {Service: "-a", Epoch: 1, Holder: "a"},
		{Service: strings.Repeat("a", 64), Epoch: 1, Holder: "a"},
	} {
		if err := bad.Check(); err == nil {
			t.Errorf("%+v passed", bad)
		}
	}
}
