package triggers_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/triggers/triggerstest"
	"github.com/understudy-dr/understudy/workflows"
)

var nextPage = regexp.MustCompile(`^<([^>]+)>; rel="next"$`)

// pages follows the links from a path, and returns the ids of all recoveries.
func (s *stage) pages(path string) (ids []string, pages int) {
	s.t.Helper()
	for path != "" {
		var all []triggers.Recovery
		headers := s.get(path, &all)
		for _, r := range all {
			ids = append(ids, r.ID)
		}
		pages++
		path = ""
		if link := nextPage.FindStringSubmatch(headers.Get("Link")); link != nil {
			path = link[1]
		}
		if pages > 1000 {
			s.t.Fatal("the pages have no end")
		}
	}
	return ids, pages
}

func TestRecoveriesInPages(t *testing.T) {
	t.Parallel()
	services := []string{"asr", "asr-2", "tts"}
	s := set(t, append(services, "quiet")...)
	var all []triggers.Recovery
	at := began
	dice := rand.New(rand.NewPCG(1, 2))
	for i := range 150 {
		at = at.Add(time.Duration(dice.IntN(3)) * time.Minute) // some begin at once
		r := triggerstest.Report(services[dice.IntN(3)], int64(i+1), at)
		outcome, tier := workflows.OutcomeRecovered, "hot"
		if i%7 == 0 {
			outcome, tier = workflows.OutcomeFailed, ""
		}
		if i%5 == 0 {
			r.Mode = workflows.ModeDrill
		}
		if i%3 == 0 {
			r.Trigger.Kind = workflows.TriggerPerson
		}
		r = ended(r, outcome, tier, 1)
		s.keep(r)
		all = append(all, triggers.Listed(r))
	}
	running := triggerstest.Report("tts", 151, at.Add(time.Hour))
	s.Run(running)
	all = append(all, triggers.Listed(running))
	slices.SortStableFunc(all, func(x, y triggers.Recovery) int {
		if c := y.Started.Compare(x.Started); c != 0 {
			return c
		}
		if c := strings.Compare(x.Service, y.Service); c != 0 {
			return c
		}
		return int(y.Epoch - x.Epoch)
	})
	for name, f := range map[string]triggers.Filter{
		"all": {}, "a service": {Service: "asr"}, "one outcome": {Outcome: workflows.OutcomeFailed}, "running": {Outcome: triggers.Running}, "a tier": {Tier: "hot"},
		"drills": {Mode: "drill"}, "by people": {Trigger: "person"}, "since": {Since: began.Add(30 * time.Minute)}, "until": {Until: began.Add(time.Hour)},
		"an hour of one": {Service: "asr-2", Mode: "live", Since: began.Add(30 * time.Minute), Until: began.Add(90 * time.Minute)}, "nothing": {Outcome: "none"}, "nobody": {Service: "nobody"},
	} {
		var want []string
		for _, r := range all {
			if f.Passes(r) {
				want = append(want, r.ID)
			}
		}
		if name != "nothing" && name != "nobody" && len(want) == 0 {
			t.Fatalf("%s chooses nothing", name)
		}
		for _, limit := range []int{4, 20, 200} {
			q := f.Query()
			q.Set("limit", fmt.Sprint(limit))
			got, pages := s.pages("/api/v1/recoveries?" + q.Encode())
			if !slices.Equal(got, want) {
				t.Errorf("%s, %d a page: %d of %d in %d pages\n%v\n%v", name, limit, len(got), len(want), pages, got, want)
			}
		}
	}
}

func TestARecoveryThatEndsIsThereOnce(t *testing.T) {
	s := set(t, "asr")
	r := triggerstest.Report("asr", 7, began)
	s.keep(ended(triggerstest.Report("asr", 6, began.Add(-time.Hour)), workflows.OutcomeRecovered, "hot", 1), ended(r, workflows.OutcomeRecovered, "hot", 2))
	s.Run(r) // written down already, and the guard has not heard of its end
	if got, _ := s.pages("/api/v1/recoveries"); !slices.Equal(got, []string{"asr-7", "asr-6"}) {
		t.Errorf("%v", got)
	}
}

func TestWhatIsNoReportIsLeftOut(t *testing.T) {
	s := set(t, "asr")
	s.keep(ended(triggerstest.Report("asr", 7, began), workflows.OutcomeRecovered, "hot", 1))
	for _, name := range []string{"asr/00000000000000000009.json", "asr/00000000000000000007.md", "asr/x.json", "readme"} {
		if err := s.store.Write(t.Context(), name, []byte("{broken")); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := s.pages("/api/v1/recoveries"); !slices.Equal(got, []string{"asr-7"}) {
		t.Errorf("%v", got)
	}
}

func TestCursorsThatAreNoneOfOurs(t *testing.T) {
	s := set(t, "asr")
	for _, cursor := range []string{"x", "e30=", "bnVsbA", strings.Repeat("A", 301), "../"} {
		status, _, body := s.ask("", "GET", "/api/v1/recoveries?cursor="+url.QueryEscape(cursor), "")
		if status != 422 && !(cursor == "bnVsbA" && status == 200) { // null is where everything begins
			t.Errorf("%q: %d %s", cursor, status, body)
		}
	}
}

func TestListedSaysWhatItWaitsFor(t *testing.T) {
	s := set(t, "asr")
	s.Run(asking())
	var all []triggers.Recovery
	s.get("/api/v1/recoveries", &all)
	if len(all) != 1 || all[0].Outcome != triggers.Running || all[0].Question != "may asr move to cross-region?" || all[0].Trigger != "alert" {
		t.Errorf("%+v", all)
	}
}
