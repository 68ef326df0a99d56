package activities_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/activities/reports/disk"
)

// awayStore is a place that does not answer.
type awayStore struct{ reports.Store }

var errPlaceAway = errors.New("the bucket does not answer")

func (awayStore) Write(context.Context, string, []byte) error         { return errPlaceAway }
func (awayStore) Create(context.Context, string, []byte) error        { return errPlaceAway }
func (awayStore) List(context.Context, string) ([]string, error)      { return nil, errPlaceAway }
func (awayStore) Read(_ context.Context, name string) ([]byte, error) { return nil, errPlaceAway }

func TestAReportIsPrintedComparedAndChained(t *testing.T) {
	here, there := disk.New(t.TempDir()), disk.New(t.TempDir())
	var seen []byte
	a := activities.New(activities.Deps{
		Reports: reports.Places{{Name: "disk", Store: here}, {Name: "s3", Store: there}},
		Print: func(report []byte) (map[string][]byte, error) {
			seen = report
			if strings.Contains(string(report), "unprintable") {
				return nil, errors.New("the page cannot be made")
			}
			return map[string][]byte{".md": []byte("# printed"), ".html": []byte("<p>printed")}, nil
		},
	})
	write := func(name, outcome string) error {
		return a.WriteReport(t.Context(), activities.WriteReportInput{Files: map[string]string{
			name + ".json": `{"service": "asr", "mode": "live", "outcome": "` + outcome + `", "started": "2026-11-21T03:00:00Z",
				"timeline": [{"step": "load", "tier": "cold", "state": "done", "started": "2026-11-21T03:00:00Z", "ended": "2026-11-21T03:00:09Z"}]}`,
			name + ".md": "# from the workflow",
		}})
	}
	if err := write("asr/1", "recovered"); err != nil || bytes.Contains(seen, []byte(`"past"`)) {
		t.Fatalf("%v: %s", err, seen)
	}
	if err := write("asr/2", "recovered"); err != nil || !bytes.Contains(seen, []byte(`"p95_seconds": 9`)) {
		t.Fatalf("%v: %s", err, seen)
	}
	if err := write("asr/3", "unprintable"); err != nil {
		t.Fatal(err)
	}
	for name, store := range map[string]reports.Store{"disk": here, "s3": there} {
		v, err := reports.Verify(t.Context(), store, "asr", time.Now().Add(time.Hour))
		if err != nil || v.Reports != 3 || len(v.Broken) != 0 || v.Last != "asr/3" {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
		for file, want := range map[string]string{"asr/2.md": "# printed", "asr/2.html": "<p>printed", "asr/3.md": "# from the workflow"} {
			if content, err := store.Read(t.Context(), file); err != nil || string(content) != want {
				t.Errorf("%s, %s: %q, %v", name, file, content, err)
			}
		}
		if _, err := store.Read(t.Context(), "asr/3.html"); !errors.Is(err, reports.ErrNone) {
			t.Errorf("%s: a page of what cannot be printed: %v", name, err)
		}
	}
}

// The bucket may be away on the day of the disaster; this machine is not.
func TestAPlaceThatIsAwayKeepsTheReportFromNoOther(t *testing.T) {
	here := disk.New(t.TempDir())
	a := activities.New(activities.Deps{Reports: reports.Places{{Name: "disk", Store: here}, {Name: "s3", Store: awayStore{}}}})
	in := activities.WriteReportInput{Files: map[string]string{"asr/1.json": `{"service": "asr"}`}}
	if err := a.WriteReport(t.Context(), in); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("%v", err)
	}
	if v, err := reports.Verify(t.Context(), here, "asr", time.Now()); err != nil || v.Reports != 1 || len(v.Broken) != 0 {
		t.Errorf("%+v, %v", v, err)
	}
}
