package triggers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/triggers/triggerstest"
	"github.com/understudy-dr/understudy/workflows"
)

func TestTheWayHomeIsShownFirst(t *testing.T) {
	r, _ := triggerstest.Library("asr").Lookup("asr")
	r.Data = []runbooks.Data{{Kind: "litestream", Path: "/h.db", Replica: "s3://h"}, {Kind: "files", Path: "/out", Bucket: "s3://o"}}
	r.Policy.Pause, r.Batches = runbooks.Duration(time.Minute), nil
	library := runbooks.NewLibrary(r)
	s := setEdited(t, false, func(c *triggers.APIConfig) { c.Library = func() *runbooks.Library { return library } }, "asr")

	if status, _, body := s.ask("", "GET", "/api/v1/services/asr/failback", ""); status != 409 || !strings.Contains(body, "is at home") {
		t.Errorf("at home: %d %s", status, body)
	}
	s.Set("asr", func(g *workflows.GuardState) {
		g.Active, g.Epoch, g.DataEpoch, g.DataKnown = "cold", 41, 40, true
		g.Made = &activities.Made{Price: 2, Since: time.Now().Add(-3 * time.Hour)}
	})
	s.Refuse("primary", "version: expected 2512.1, got 2511.0")
	var w triggers.WayHome
	s.get("/api/v1/services/asr/failback", &w)
	if w.From != "cold" || len(w.Primary.Refusals) != 1 || !w.Pauses || w.PauseMost.D() != time.Minute || w.Cost < 5.9 || w.Cost > 6.1 || !strings.Contains(w.Refused, "primary.activate") {
		t.Errorf("%+v", w)
	}
	if len(w.Data) != 2 || w.Data[0].Changes != 28 || w.Data[1].Changes != 28 || w.Data[0].Epoch != 40 || !strings.Contains(w.Data[0].String(), "28 transactions below epoch 40") || !strings.Contains(w.Data[1].String(), "28 files") {
		t.Errorf("%+v", w.Data)
	}
	// Where no data moves, nobody waits.
	s.Set("asr", func(g *workflows.GuardState) {
		g.Active, g.DataKnown, g.Running = "hot", false, &workflows.Running{Epoch: 42}
	})
	w = triggers.WayHome{}
	s.get("/api/v1/services/asr/failback", &w)
	if w.Pauses || len(w.Data) > 0 || !strings.Contains(w.Refused, "epoch 42 is running") {
		t.Errorf("%+v", w)
	}
}
