package console

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/triggers/access"
	"github.com/understudy-dr/understudy/triggers/triggerstest"
	"github.com/understudy-dr/understudy/workflows"
)

var start = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

func TestSpan(t *testing.T) {
	for seconds, want := range map[float64]string{
		0: "0 ms", 0.0124: "12 ms", 0.9996: "1 s", 1: "1 s", 1.96: "2 s", 9.99: "10 s", 14.8: "14.8 s", 59.99: "1 min", 60: "1 min", 61: "1 min 1 s", 3600: "1 h", 3660: "1 h 1 min", 86400: "24 h", 200000: "2 days",
	} {
		if got := span(seconds); got != want {
			t.Errorf("%v s: %q, not %q", seconds, got, want)
		}
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "a moment ago", time.Minute: "1 min ago", 90 * time.Minute: "1 h ago", 50 * time.Hour: "2 days ago", -time.Hour: "a moment ago"} {
		if got := ago(start.Add(-d), start); got != want {
			t.Errorf("%v: %q, not %q", d, got, want)
		}
	}
	if got := ago(time.Time{}, start); got != "never" {
		t.Errorf("no time at all: %q", got)
	}
}

func TestWhatIsUrgentComesFirst(t *testing.T) {
	all := []triggers.Service{{Service: "a", State: "ready"}, {Service: "b", State: "paused"}, {Service: "c", State: "unknown"}, {Service: "d", State: "recovering"}}
	names := func(p servicesPage) (got string) {
		for _, row := range p.Rows {
			got += row.Name
		}
		return got
	}
	p := chooseServices(all, "", "", 0)
	if names(p) != "cdba" || p.Counts[0].State != "unknown" || p.Counts[0].Tone != toneBad || p.Page != 1 || p.Pages != 1 {
		t.Errorf("%+v", p)
	}
	if p := chooseServices(all, " B ", "", 9); names(p) != "b" || p.Found != 1 || p.Total != 4 || p.Page != 1 {
		t.Errorf("%+v", p)
	}
	if p := chooseServices(all, "", "ready", 1); names(p) != "a" {
		t.Errorf("%+v", p)
	}
	var many []triggers.Service
	for i := range 120 {
		many = append(many, triggers.Service{Service: fmt.Sprintf("s-%03d", i), State: "ready"})
	}
	seen := 0
	for number := 1; number <= 3; number++ {
		p := chooseServices(many, "s-", "ready", number)
		seen += len(p.Rows)
		if p.Page != number || p.Pages != 3 || p.Other(p.Next()) != fmt.Sprintf("page=%d&q=s-&state=ready", number+1) {
			t.Errorf("page %d: %d of %d, next %s", number, p.Page, p.Pages, p.Other(p.Next()))
		}
	}
	if seen != 120 {
		t.Errorf("the pages have %d services", seen)
	}
}

func TestMarksTellTheWorst(t *testing.T) {
	ready := workflows.ReadinessState{Findings: []activities.Finding{
		{Tier: "hot", Level: activities.LevelFail, What: "version"}, {Tier: "hot", Level: activities.LevelOK, What: "answers"}, {Tier: "cold", Level: activities.LevelOK, What: "model"},
		{Tier: "hot", Level: activities.LevelWarn, What: "old"}, {Level: activities.LevelFail, What: "chat"},
	}}
	var got []string
	for _, m := range marks(triggerstest.Runbook("asr"), "primary", ready) {
		got = append(got, m.Tier+" "+m.Word+" "+m.Why)
	}
	if strings.Join(got, "; ") != "hot would fail version; cold would work ; cross-region not looked at yet " {
		t.Errorf("%q", got)
	}
	if found := findings(ready, "hot", start); len(found) != 3 || found[0].What != "version" || found[2].What != "answers" {
		t.Errorf("%+v", found)
	}
}

func TestChart(t *testing.T) {
	one := func(rto float64, mode, objective string) triggers.Recovery {
		return triggers.Recovery{ID: "asr-1", RTOSeconds: rto, Mode: mode, Objective: objective}
	}
	for name, c := range map[string]struct {
		all       []triggers.Recovery
		objective time.Duration
		bars      int
		text      string
		met       bool
	}{
		"none":        {nil, time.Minute, 0, "no recovery yet", false},
		"a drill":     {[]triggers.Recovery{one(1, workflows.ModeDrill, "")}, 0, 0, "no recovery yet", false},
		"not back":    {[]triggers.Recovery{one(0, workflows.ModeLive, "")}, 0, 0, "no recovery yet", false},
		"no promise":  {[]triggers.Recovery{one(100, workflows.ModeLive, "")}, 0, 1, "one recovery time, 1 min 40 s", true},
		"kept":        {[]triggers.Recovery{one(1, workflows.ModeLive, ""), one(99, workflows.ModeLive, "")}, 30 * time.Second, 2, "2 recovery times, the latest 1 s; 1 of 2 within their objective", true},
		"own promise": {[]triggers.Recovery{one(3, workflows.ModeLive, "2s")}, 30 * time.Second, 1, "one recovery time, 3 s; 0 of 1 within their objective", false},
	} {
		for _, of := range []size{sparkSize, chartSize} {
			got := newChart(c.all, c.objective, of)
			if len(got.Bars) != c.bars || got.Text != c.text || got.Met != c.met {
				t.Errorf("%s: %+v", name, got)
			}
			for _, b := range got.Bars {
				if b.Y < of.Head-0.01 || b.Y+b.Height > of.Height+0.01 || b.X+b.Width > got.Width+0.01 || b.Height < 1 {
					t.Errorf("%s: a bar stands outside: %+v in %+v", name, b, got)
				}
			}
			if got.Line < 0 || got.Line > of.Height {
				t.Errorf("%s: the line is at %v", name, got.Line)
			}
		}
	}
}

// report is a recovery whose hot tier was refused, and whose cold one is tried.
func report() workflows.Report {
	r := triggerstest.Report("asr", 7, start)
	book := triggerstest.Runbook("asr")
	home, _ := book.TargetNamed(runbooks.PrimaryName)
	r.Plan = runbooks.NewPlan(book, home, nil)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	r.Timeline = append(r.Timeline,
		workflows.Record{Step: runbooks.StepGate, Tier: "hot", State: workflows.Refused, Reason: "old version", Started: at(50), Ended: at(80)},
		workflows.Record{Step: runbooks.StepClaim, Tier: "cold", State: workflows.Done, Started: at(80), Ended: at(90)},
		workflows.Record{Step: runbooks.StepProvision, Tier: "cold", State: workflows.InProgress, Reason: "making it", Started: at(90)})
	return r
}

// told is a checklist in a few words.
func told(groups []checkGroup) string {
	var all []string
	for _, g := range groups {
		text := g.Name + " " + g.State + ":"
		for _, item := range g.Items {
			if !g.Folded {
				text += " " + item.Step + "=" + item.State
			}
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}

func TestChecklist(t *testing.T) {
	running := report()
	done := report()
	done.Timeline[3].State, done.Timeline[3].Ended = workflows.Done, start.Add(time.Second)
	for i, step := range []string{runbooks.StepLoad, runbooks.StepGate, runbooks.StepCutOver, runbooks.StepVerify, runbooks.StepSettle} {
		done.Timeline = append(done.Timeline, workflows.Record{Step: step, Tier: "cold", State: workflows.Done, Started: start.Add(time.Duration(i+1) * time.Second), Ended: start.Add(time.Duration(i+2) * time.Second)})
	}
	boot := workflows.Record{Step: runbooks.StepBoot, Tier: "cold", State: workflows.Done, Started: start.Add(999 * time.Millisecond), Ended: start.Add(time.Second)} // on no plan
	done.Timeline = append(done.Timeline, boot, workflows.Record{Step: runbooks.StepOrphans, State: workflows.Done, Reason: "none"})
	done.Outcome, done.Tier, done.Active, done.Ended = workflows.OutcomeRecovered, "cold", "cold", start.Add(10*time.Second)
	fresh := report()
	fresh.Timeline = fresh.Timeline[:0]
	only := report()
	only.Plan, only.Timeline = only.Plan.Only("hot"), only.Timeline[:1]
	alarm := report()
	alarm.Timeline, alarm.Outcome, alarm.Ended = alarm.Timeline[:1], workflows.OutcomeFalseAlarm, start.Add(time.Second)
	for name, c := range map[string]struct {
		r    workflows.Report
		want string
	}{
		"fresh": {fresh, "Look to come: diagnose=to come; hot to come:; cold to come:; cross-region to come:"},
		"running": {running, "Look done: diagnose=done; hot refused: gate=refused; " +
			"cold under way: claim=done check=to come provision=running load=to come gate=to come cut over=to come verify=to come settle=to come report=to come; cross-region to come:"},
		"done": {done, "Look done: diagnose=done; hot refused: gate=refused; " +
			"cold done: claim=done check=not needed provision=done boot=done load=done gate=done cut over=done verify=done settle=done report=done; cross-region not needed:; Besides done: orphans=done"},
		"only hot":    {only, "Look done: diagnose=done; hot to come:; cold left out:; cross-region left out:"},
		"false alarm": {alarm, "Look done: diagnose=done; hot not needed:; cold not needed:; cross-region not needed:"},
	} {
		if got := told(checklist(c.r)); got != c.want {
			t.Errorf("%s:\n%s\n%s", name, got, c.want)
		}
	}
}

// Whatever a timeline holds, the drawing stays within its frame.
func TestWaterfallStaysInItsFrame(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	states := []string{workflows.InProgress, workflows.Done, workflows.Failed, workflows.Refused, workflows.Noted}
	for range 500 {
		r := triggerstest.Report("asr", 7, start)
		r.Timeline = nil
		drawn := 0
		for range dice.IntN(12) {
			rec := workflows.Record{Step: []string{runbooks.StepGate, runbooks.StepSettle, runbooks.StepLoad}[dice.IntN(3)], State: states[dice.IntN(len(states))], Started: start.Add(time.Duration(dice.IntN(100_000)-1000) * time.Millisecond)}
			if rec.State != workflows.InProgress {
				rec.Ended = rec.Started.Add(time.Duration(dice.IntN(100_000)-50) * time.Millisecond) // clocks of two machines
			}
			if rec.State != workflows.Noted {
				drawn++
			}
			r.Timeline = append(r.Timeline, rec)
		}
		w := newWaterfall(r, start.Add(time.Duration(dice.IntN(200_000))*time.Millisecond))
		if len(w.Rows) != drawn {
			t.Fatalf("%d rows of %d", len(w.Rows), drawn)
		}
		for _, row := range w.Rows {
			if row.Start < 0 || row.Width <= 0 || row.Start+row.Width > 100.01 || row.TookAt < 0 || row.TookAt > 100 || row.Y+rowHeight > w.Height {
				t.Fatalf("%+v of %+v", row, r.Timeline)
			}
		}
	}
}

func TestTheLongWatchDoesNotHideTheSeconds(t *testing.T) {
	r := report()
	r.Timeline[3].State, r.Timeline[3].Ended = workflows.Done, start.Add(time.Second)
	r.Timeline = append(r.Timeline, workflows.Record{Step: runbooks.StepSettle, Tier: "cold", State: workflows.Done, Started: start.Add(900 * time.Millisecond), Ended: start.Add(5 * time.Minute)})
	r.Verified = start.Add(900 * time.Millisecond)
	w := newWaterfall(r, start.Add(time.Hour))
	if made, settle := w.Rows[3], w.Rows[4]; made.Width < 80 || !settle.Cut || settle.Took != "4 min 59 s" || w.Verified != 90 {
		t.Errorf("%+v", w)
	}
}

func TestBreakdown(t *testing.T) {
	r := report()
	if b := newBreakdown(r); len(b.Shares) != 0 {
		t.Errorf("%+v", b)
	}
	r.Breakdown = []workflows.Share{{Name: "detect", Seconds: 3}, {Name: "load", Seconds: 1}}
	b := newBreakdown(r)
	if b.Text != "detect 3 s, load 1 s" || b.Shares[1].Start != 75 || b.Shares[1].Width != 25 {
		t.Errorf("%+v", b)
	}
}

func TestHead(t *testing.T) {
	now := start.Add(40 * time.Second)
	running := report()
	running.Objective = runbooks.Duration(30 * time.Second)
	made := report()
	made.Made = &activities.Made{Since: start.Add(-time.Hour), Price: 2, Where: "us-west-2a"}
	made.Made.Machine.ID = "i-1"
	verified := report()
	verified.Verified, verified.Active = start.Add(2*time.Second), "hot"
	drill := report()
	drill.Mode = workflows.ModeDrill
	for name, c := range map[string]struct {
		r                  workflows.Report
		rto, cost, machine string
		ticking, kept      bool
	}{
		"running, too long": {running, "40 s", "", "", true, false},
		"a machine":         {made, "40 s", "2.02 so far, 2.00 an hour", "i-1, us-west-2a", true, true},
		"verified":          {verified, "2 s", "", "", false, true},
		"a drill":           {drill, "", "", "", false, false},
	} {
		if h := viewHead(c.r, "", now); h.RTO != c.rto || h.Cost != c.cost || h.Machine != c.machine || h.Ticking != c.ticking || h.Kept != c.kept {
			t.Errorf("%s: %+v", name, h)
		}
	}
	if one, two := viewHead(running, "", now).Still(), viewHead(running, "", now.Add(time.Second)).Still(); version(one) != version(two) {
		t.Error("seconds that only tick change the part")
	}
}

func TestWhoDecidedWhat(t *testing.T) {
	r := report()
	r.Trigger.Kind, r.Trigger.By, r.Trigger.Text = workflows.TriggerPerson, "anna", "anna asks"
	r.Answers = []workflows.Answered{{By: "bert", Answer: "commit"}}
	all := viewRecovery(triggers.RecoveryDetail{Report: r}, access.Viewer, start).Answers
	if len(all) != 2 || all[0].By != "anna" || all[1].By != "bert" || len(r.Answers) != 1 {
		t.Errorf("%+v", all)
	}
}

func TestWhoMayAnswer(t *testing.T) {
	for _, c := range []struct {
		role   access.Role
		wanted []string
		may    bool
	}{
		{access.Viewer, nil, false}, {access.Viewer, []string{"viewer"}, false}, {access.Ingest, nil, false}, {access.Nobody, nil, false}, {access.Responder, nil, true},
		{access.Responder, []string{"approver"}, false}, {access.Responder, []string{"approver", "responder"}, true}, {access.Approver, []string{"responder"}, true}, {access.Approver, []string{""}, false},
	} {
		if got := mayAnswer(c.role, c.wanted); got != c.may {
			t.Errorf("%s, where %v may: %v", c.role, c.wanted, got)
		}
	}
}

func TestExpectedSecondsAreThoseUntilItServes(t *testing.T) {
	book := triggerstest.Runbook("asr")
	home, _ := book.TargetNamed(runbooks.PrimaryName)
	d := triggers.PlanDetail{Plan: runbooks.NewPlan(book, home, nil), Expected: []triggers.Expected{
		{Tier: "hot", Step: runbooks.StepGate, Seconds: 0.5}, {Tier: "hot", Step: runbooks.StepCutOver, Seconds: 1}, {Step: runbooks.StepVerify, Seconds: 2}, {Tier: "hot", Step: runbooks.StepSettle, Seconds: 60},
	}}
	p := viewPlan(d, "")
	if p.Rungs[0].Expected != "3.5 s" || p.Rungs[1].Expected != "" || !p.Tries || !p.Rungs[2].Approval || p.Rungs[1].Approval {
		t.Errorf("%+v", p)
	}
	if p := viewPlan(triggers.PlanDetail{Plan: d.Plan.Only("hot"), Gates: map[string]activities.Gate{"hot": {Refusals: []string{"old"}}}}, "hot"); p.Tries || p.Rungs[0].Refusals[0] != "old" {
		t.Errorf("%+v", p)
	}
}

func TestDaysOfTheFilter(t *testing.T) {
	f := filterView{Service: "asr", Since: "2026-11-01", Until: "2026-11-30"}
	if q := f.query(); q.Get("since") != "2026-11-01T00:00:00Z" || q.Get("until") != "2026-12-01T00:00:00Z" || q.Get("service") != "asr" || q.Has("tier") {
		t.Errorf("%v", q)
	}
	if q := f.fields(); q.Get("until") != "2026-11-30" {
		t.Errorf("%v", q)
	}
}

// answers is an API that says what the test wants.
type answers map[string]any

func (a answers) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		said, ok := a[r.URL.Path]
		if err, bad := said.(error); bad || !ok {
			w.WriteHeader(http.StatusServiceUnavailable)
			said = map[string]any{"detail": fmt.Sprint(err)}
		}
		_ = json.NewEncoder(w).Encode(said) // a recorder takes everything
	})
}

func TestBatches(t *testing.T) {
	book := triggerstest.Runbook("asr")
	book.Batches = &runbooks.Batches{Store: "s3://batches/asr"}
	other := book
	other.Service = "tts"
	library := runbooks.NewLibrary(book, other, triggerstest.Runbook("vad"))
	one := triggers.Batch{Job: "archive-2026", Service: "asr", State: "running", Items: 200, Succeeded: 90, Failed: 8, Quarantined: 2, AudioSeconds: 3600, TotalSeconds: 7200, Speed: 12.5, LeftSeconds: 288, On: "hot", Moves: 1, Created: start}
	c := New(Config{
		API: answers{
			base + "/services/asr/batches":              []triggers.Batch{one},
			base + "/services/tts/batches":              fmt.Errorf("the store does not answer"),
			base + "/services/asr/batches/archive-2026": triggers.BatchDetail{Batch: one, Store: "s3://batches/asr/archive-2026"},
		},
		Library: func() *runbooks.Library { return library }, Token: func(access.Person) string { return "" }, Now: func() time.Time { return start.Add(time.Hour) },
	})
	mux := http.NewServeMux()
	c.Mount(mux)
	for path, wants := range map[string][]string{
		"/batches":                  {"archive-2026", "50 %, 100 of 200", "8 failed", "2 quarantined", "4 min 48 s left", "moved once", "tts: the store does not answer", `width="45.00%"`, `data-every="3"`},
		"/batches/asr/archive-2026": {"100 of 200 items on <b>hot</b>", "12.5× real time", "s3://batches/asr/archive-2026"},
	} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		for _, want := range wants {
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s: %d, and it does not say %q:\n%s", path, w.Code, want, w.Body)
			}
		}
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/batches/asr/none", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("a store that is away: %d", w.Code)
	}
}

func TestPartsOfABar(t *testing.T) {
	for _, b := range []triggers.Batch{{}, {Items: 3, Succeeded: 3}, {Items: 3, Succeeded: 3, Failed: 3}, {Items: 0, Failed: 1}, {Items: 7, Succeeded: 1, Failed: 2, Quarantined: 4}} {
		row := viewBatch(b, start)
		end := 0.0
		for _, p := range row.Parts {
			if p.Start < end-0.01 || p.Width < 0 {
				t.Errorf("%+v: %+v", b, row.Parts)
			}
			end = p.Start + p.Width
		}
		if end > 100.01 || row.Percent > 100.01 {
			t.Errorf("%+v: %+v", b, row.Parts)
		}
	}
}
