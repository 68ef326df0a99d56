package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/runbooks"
)

// places is a provider that only says whether it would take an order, by zone.
type places struct {
	compute.Provider
	refuse map[string]error
}

func (p places) Check(_ context.Context, o compute.Order) error { return p.refuse[o.Placement.Zone] }

// kept are reports in memory.
type kept map[string]string

func (k kept) Write(context.Context, string, []byte) error  { return nil }
func (k kept) Create(context.Context, string, []byte) error { return nil }

func (k kept) Read(_ context.Context, name string) ([]byte, error) { return []byte(k[name]), nil }

func (k kept) List(_ context.Context, prefix string) (names []string, err error) {
	for name := range k {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// ordered is a report of a recovery that has ordered a machine at a place.
func ordered(t *testing.T, epoch int, place, state, reason string) (name, report string) {
	t.Helper()
	at := time.Date(2026, 11, epoch, 3, 0, 0, 0, time.UTC)
	text, err := json.Marshal(map[string]any{"service": "asr", "epoch": epoch, "started": at, "timeline": []any{
		map[string]any{"step": "provision", "tier": "cold", "place": place, "state": state, "reason": reason, "started": at, "ended": at.Add(time.Second)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("asr/%020d.json", epoch), string(text)
}

func TestEachPlaceIsAsked(t *testing.T) {
	const a, b = "z-a g5", "z-b g5"
	quota := fmt.Errorf("%w: launch g5: VcpuLimitExceeded", compute.ErrQuota).Error()
	type order struct{ place, state, reason string }
	for name, c := range map[string]struct {
		refuse map[string]error
		past   []order
		want   []string // level, place and a word of each finding; the good one has no place
	}{
		"all would take it":                 {nil, nil, []string{"ok  2 of 2 places"}},
		"an image is missing at one":        {map[string]error{"z-b": fmt.Errorf("%w: no image", compute.ErrRefused)}, nil, []string{"warn z-b g5 no image", "ok  1 of 2 places"}},
		"none may be used":                  {map[string]error{"z-a": compute.ErrCredentials, "z-b": compute.ErrCredentials}, nil, []string{"fail z-a g5 credentials", "fail z-b g5 credentials"}},
		"one does not answer":               {map[string]error{"z-a": context.DeadlineExceeded}, nil, []string{"warn z-a g5 deadline", "ok  1 of 2 places"}},
		"a quota was met":                   {nil, []order{{a, "refused", quota}}, []string{"warn z-a g5 VcpuLimitExceeded", "ok  1 of 2 places"}},
		"quotas were met everywhere":        {nil, []order{{a, "refused", quota}, {b, "refused", quota}}, []string{"fail z-a g5 quota", "fail z-b g5 quota"}},
		"it was met, and is not any more":   {nil, []order{{a, "refused", quota}, {a, "done", "i-1 at z-a"}}, []string{"ok  2 of 2 places"}},
		"what else went wrong, a look sees": {nil, []order{{a, "refused", "order refused: no image"}, {a, "failed", "aborted"}}, []string{"ok  2 of 2 places"}},
	} {
		t.Run(name, func(t *testing.T) {
			store := kept{}
			for i, o := range c.past {
				file, report := ordered(t, i+1, o.place, o.state, o.reason)
				store[file] = report
			}
			tier := runbooks.Tier{Name: "cold", Provision: &runbooks.Provision{Kind: "ec2", Placements: []runbooks.Placement{{Zone: "z-a", Type: "g5"}, {Zone: "z-b", Type: "g5"}}}}
			acts := New(Deps{Reports: store, Providers: func(runbooks.Provision) (compute.Provider, error) { return places{refuse: c.refuse}, nil }})
			found := acts.readyPlaces(t.Context(), CheckReadinessInput{Runbook: runbooks.Runbook{Service: "asr"}}, tier)
			if len(found) != len(c.want) {
				t.Fatalf("%+v", found)
			}
			for i, f := range found {
				level, rest, _ := strings.Cut(c.want[i], " ")
				if f.Level != level || !strings.HasPrefix(rest, f.About) || !strings.Contains(f.What, strings.TrimSpace(strings.TrimPrefix(rest, f.About))) || (level != LevelOK) != (f.Do != "") {
					t.Errorf("%+v, want %s", f, c.want[i])
				}
			}
		})
	}
}

var _ reports.Store = kept{}

func TestRoom(t *testing.T) {
	for free, want := range map[uint64]string{0: LevelFail, diskLeast - 1: LevelFail, diskLeast: LevelWarn, diskSpare - 1: LevelWarn, diskSpare: LevelOK} {
		if got := roomLevel(free); got != want {
			t.Errorf("%d bytes free: %s, want %s", free, got, want)
		}
	}
	if f := roomFinding(t.TempDir()+"/not/yet/there", "something"); f.Check != "disk" || f.What == "" || strings.Contains(f.What, "no such file") {
		t.Errorf("%+v", f)
	}
}
