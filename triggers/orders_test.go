package triggers_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/triggers/audit"
	"github.com/understudy-dr/understudy/triggers/triggerstest"
	"github.com/understudy-dr/understudy/workflows"
)

// post decides something, with a key.
func (s *stage) post(who, path, body, key string) (int, string) {
	s.t.Helper()
	status, _, text := s.ask(who, "POST", path, body, "Idempotency-Key", key)
	return status, text
}

func TestEveryVerbReachesItsWorkflow(t *testing.T) {
	s := setWith(t, true, "asr", "tts")
	s.Run(asking())
	for _, c := range []struct{ path, body, update, input string }{
		{"/services/asr/recover", `{"reason":"it hangs","tier":"hot","force":true,"plan":"p1"}`, workflows.RecoverUpdateName,
			`{"by":"anna","reason":"it hangs","tier":"hot","plan":"p1","role":"approver","force":true}`},
		{"/services/asr/pause", `{"reason":"maintenance"}`, workflows.PauseUpdateName, `{"by":"anna","reason":"maintenance"}`},
		{"/services/asr/resume", ``, workflows.ResumeUpdateName, `{"by":"anna"}`},
		{"/recoveries/asr-7/abort", `{"reason":"no"}`, workflows.AbortUpdateName, `{"by":"anna","reason":"no"}`},
		{"/recoveries/asr-7/retry", `{"reason":"again"}`, workflows.RetryUpdateName, `{"by":"anna","reason":"again"}`},
		{"/recoveries/asr-7/skip", `{"reason":"next"}`, workflows.SkipUpdateName, `{"by":"anna","reason":"next"}`},
		{"/recoveries/asr-7/commit", `{"reason":"good"}`, workflows.CommitUpdateName, `{"by":"anna","reason":"good"}`},
		{"/recoveries/asr-7/rollback", `{"reason":"bad"}`, workflows.RollbackUpdateName, `{"by":"anna","reason":"bad"}`},
		{"/recoveries/asr-7/approve", `{"question":"7-1","plan":"p1","reason":"ok"}`, workflows.AnswerUpdateName, `{"by":"anna","question":"7-1","answer":"approve","reason":"ok","plan":"p1","role":"approver"}`},
		{"/recoveries/asr-7/reject", `{"question":"7-1","plan":"p1"}`, workflows.AnswerUpdateName, `{"by":"anna","question":"7-1","answer":"reject","plan":"p1","role":"approver"}`},
		{"/recoveries/asr-7/answer", `{"question":"7-1","answer":"skip"}`, workflows.AnswerUpdateName, `{"by":"anna","question":"7-1","answer":"skip","role":"approver"}`},
	} {
		s.Reply(func(triggers.Order) (any, error) {
			if c.update == workflows.RecoverUpdateName {
				return workflows.RecoverAnswer{Started: true, Epoch: 8, Recovery: "recovery/asr/8", Reason: "anna asks"}, nil
			}
			return "it stays on hot", nil
		})
		status, body := s.post("anna", "/api/v1"+c.path, c.body, "k")
		orders, entries := s.Orders(), s.Entries()
		last, kept := orders[len(orders)-1], entries[len(entries)-1]
		input, _ := json.Marshal(last.Input)
		var got, want map[string]any
		_ = json.Unmarshal(input, &got)
		_ = json.Unmarshal([]byte(c.input), &want)
		delete(got, "trace_parent")
		if status != 200 || last.Update != c.update || last.Service != "asr" || fmt.Sprint(got) != fmt.Sprint(want) || (last.Epoch == 7) != strings.Contains(c.path, "asr-7") {
			t.Errorf("%s: %d %s\n%+v\n%s", c.path, status, body, last, input)
		}
		verb := c.path[strings.LastIndex(c.path, "/")+1:]
		if c.update != workflows.RecoverUpdateName && (!strings.Contains(body, `"leaves":"it stays on hot"`) || !strings.Contains(body, `"did":"`+verb+`"`)) {
			t.Errorf("%s says %s", c.path, body)
		}
		if kept.Who != "anna" || kept.Role != "approver" || kept.From != "127.0.0.1" || kept.Did != verb || kept.Result != audit.Done || kept.Text == "" || kept.Key != "k" {
			t.Errorf("%s: the audit has %+v", c.path, kept)
		}
	}
	if entries := s.Entries(); entries[0].Plan != "p1" || entries[0].Details != "tier hot, force" || entries[8].Question != "7-1" || entries[8].Answer != "approve" || entries[8].Plan != "p1" {
		t.Errorf("the audit has %+v", entries)
	}
	if n := len(s.Orders()); n != 11 {
		t.Errorf("%d orders; two verbs with one key are two decisions", n)
	}
}

func TestACallThatStartsNothing(t *testing.T) {
	s := set(t, "asr")
	s.Reply(func(triggers.Order) (any, error) {
		return workflows.RecoverAnswer{Reason: "the plan has changed: p1 was shown, now it is p2; look at it again"}, nil
	})
	var called triggers.Called
	status, body := s.post("anna", "/api/v1/services/asr/recover", `{"reason":"r","plan":"p1"}`, "1")
	if err := json.Unmarshal([]byte(body), &called); err != nil || status != 200 || called.Started || called.Leaves != "nothing was started" || !strings.Contains(called.Reason, "look at it again") {
		t.Errorf("%d %s (%v)", status, body, err)
	}
}

func TestWhatAnOrderMustHave(t *testing.T) {
	s := set(t, "asr")
	s.Run(asking())
	for _, c := range []struct {
		path, body, key string
		want            int
	}{
		{"/services/asr/recover", `{"reason":"r"}`, "", 422},
		{"/services/asr/recover", `{}`, "1", 422},
		{"/services/asr/recover", `{"reason":""}`, "1", 422},
		{"/services/asr/recover", `{"reason":"r","tier":"lukewarm"}`, "1", 422},
		{"/services/asr/recover", `{"reason":"r","mode":"drill"}`, "1", 422},
		{"/services/asr/recover", `{"reason":"r","spelled":"wrong"}`, "1", 422},
		{"/services/asr/recover", `{"reason":"r","force":true,"supersede":true,"plan":"p1"}`, "1", 422},
		{"/services/asr/recover", `{"reason":"` + strings.Repeat("x", 70_000) + `"}`, "1", 413},
		{"/services/asr/recover", `{"reason":"r"}`, strings.Repeat("k", 129), 422},
		{"/services/asr/recover", `[]`, "1", 422},
		{"/services/asr/recover", `{`, "1", 400},
		{"/services/nobody/recover", `{"reason":"r"}`, "1", 404},
		{"/services/nobody/pause", `{"reason":"r"}`, "1", 404},
		{"/services/asr/pause", `{}`, "1", 422},
		{"/recoveries/asr/abort", `{"reason":"r"}`, "1", 404},
		{"/recoveries/asr-7/approve", `{"question":"7-1"}`, "1", 422},
		{"/recoveries/asr-7/approve", `{"plan":"p1"}`, "1", 422},
		{"/recoveries/asr-7/answer", `{"question":"7-1"}`, "1", 422},
	} {
		headers := []string{"Idempotency-Key", c.key}
		if c.key == "" {
			headers = nil
		}
		status, _, body := s.ask("anna", "POST", "/api/v1"+c.path, c.body, headers...)
		if status != c.want {
			t.Errorf("%s %.60s: %d, want %d: %s", c.path, c.body, status, c.want, body)
		}
	}
	if orders := s.Orders(); len(orders) != 0 {
		t.Errorf("%+v", orders)
	}
}

func TestARepeatedRequestIsAnsweredAgain(t *testing.T) {
	s := set(t, "asr")
	s.Lose(1)
	if status, body := s.post("anna", "/api/v1/services/asr/pause", `{"reason":"r"}`, "k1"); status != 503 || !strings.Contains(body, "same Idempotency-Key") {
		t.Errorf("a lost answer: %d %s", status, body)
	}
	for range 3 {
		if status, body := s.post("anna", "/api/v1/services/asr/pause", `{"reason":"r"}`, "k1"); status != 200 || !strings.Contains(body, "so be it") {
			t.Errorf("again: %d %s", status, body)
		}
	}
	if n := len(s.Orders()); n != 1 {
		t.Errorf("done %d times", n)
	}
	for _, c := range [][2]string{{"anna", "k2"}, {"rob", "k1"}} {
		if status, body := s.post(c[0], "/api/v1/services/asr/pause", `{"reason":"r"}`, c[1]); status != 200 {
			t.Errorf("%d %s", status, body)
		}
	}
	if n := len(s.Orders()); n != 3 {
		t.Errorf("another key and another person: %d orders", n)
	}
	var results []string
	for _, e := range s.Entries() {
		results = append(results, e.Result)
	}
	if got := strings.Join(results, " "); got != "unsure done done done done done" {
		t.Errorf("the audit has %s", got)
	}
}

func TestRefusalsSayWhy(t *testing.T) {
	s := set(t, "asr")
	over := ended(triggerstest.Report("asr", 6, began), workflows.OutcomeRecovered, "hot", 1)
	s.keep(over)
	s.Run(asking())
	s.Reply(func(triggers.Order) (any, error) {
		return nil, fmt.Errorf("%w: no tier is being tried now", triggers.ErrRefused)
	})
	for path, c := range map[string]struct {
		status int
		says   string
	}{
		"/recoveries/asr-7/skip":   {409, `"detail":"no tier is being tried now"`},
		"/recoveries/asr-6/abort":  {409, "recovery asr-6 is over: recovered"},
		"/recoveries/asr-99/abort": {409, "recovery asr-99 is not running"},
	} {
		status, body := s.post("anna", "/api/v1"+path, `{"reason":"r"}`, "1")
		if status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	s.Reply(func(triggers.Order) (any, error) { return nil, errors.New("connection refused") })
	if status, body := s.post("anna", "/api/v1/recoveries/asr-7/skip", `{"reason":"r"}`, "2"); status != 503 {
		t.Errorf("the engine is away: %d %s", status, body)
	}
	entries := s.Entries()
	for _, e := range entries[:3] {
		if e.Result != audit.Refused {
			t.Errorf("the audit has %+v", e)
		}
	}
	if last := entries[len(entries)-1]; last.Result != audit.Unsure {
		t.Errorf("the audit has %+v", last)
	}
}

// asking is a recovery that asks whether it may go to another region.
func asking() workflows.Report {
	r := triggerstest.Report("asr", 7, began)
	r.Question = &workflows.Question{ID: "7-1", Text: "may asr move to cross-region?", Plan: "p1", Roles: []string{"approver"}, Tier: "cross-region",
		Choices: []workflows.Choice{{Answer: "approve", Leaves: "it is made"}, {Answer: "reject", Leaves: "it is left out"}}}
	return r
}

func TestWhoMayAgree(t *testing.T) {
	s := setWith(t, true, "asr")
	s.Run(asking())
	const yes = `{"question":"7-1","plan":"p1"}`
	if status, body := s.post("rob", "/api/v1/recoveries/asr-7/approve", yes, "1"); status != 403 || !strings.Contains(body, "rob has the role responder, and this takes approver") {
		t.Errorf("a responder: %d %s", status, body)
	}
	if status, body := s.post("rob", "/api/v1/recoveries/asr-7/answer", `{"question":"7-1","answer":"approve","plan":"p1"}`, "2"); status != 403 {
		t.Errorf("a responder, by another way: %d %s", status, body)
	}
	if n := len(s.Orders()); n != 0 {
		t.Errorf("%d orders", n)
	}
	if e := s.Entries(); len(e) != 2 || e[0].Result != audit.Refused || e[0].Who != "rob" || e[0].Plan != "p1" || e[0].On != "asr-7" {
		t.Errorf("the audit has %+v", e)
	}
	// Where a responder is enough, an approver speaks as one.
	r := asking()
	r.Question.Roles = []string{"responder"}
	s.Run(r)
	if status, body := s.post("anna", "/api/v1/recoveries/asr-7/approve", yes, "3"); status != 200 {
		t.Errorf("an approver where a responder is asked for: %d %s", status, body)
	}
	if o := s.Orders(); o[0].Input.(workflows.AnswerUpdate).Role != "responder" || s.Entries()[2].Role != "approver" {
		t.Errorf("%+v, %+v", o, s.Entries()[2])
	}
}

// Many people and many repeats at once: the workflow lets one answer count, and
// everybody learns which.
func TestOneDecisionCounts(t *testing.T) {
	s := setWith(t, true, "asr")
	s.Run(asking())
	var mu sync.Mutex
	decided := ""
	s.Reply(func(o triggers.Order) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		in := o.Input.(workflows.AnswerUpdate)
		if decided != "" {
			return nil, fmt.Errorf("%w: %s has answered already", triggers.ErrRefused, decided)
		}
		decided = in.By
		return "decided", nil
	})
	var wg sync.WaitGroup
	statuses := make(chan int, 40)
	for i := range 40 {
		who, verb := "anna", "approve"
		if i%2 == 1 {
			who, verb = "bert", "reject"
		}
		wg.Go(func() {
			status, _ := s.post(who, "/api/v1/recoveries/asr-7/"+verb, `{"question":"7-1","plan":"p1"}`, "same")
			statuses <- status
		})
	}
	wg.Wait()
	close(statuses)
	count := map[int]int{}
	for status := range statuses {
		count[status]++
	}
	if len(s.Orders()) != 1 || count[200] != 20 || count[409] != 20 {
		t.Errorf("%d orders, %v", len(s.Orders()), count)
	}
}

func TestPauseOfAllShowsEveryAnswer(t *testing.T) {
	s := set(t, "asr", "tts", "vad")
	s.Reply(func(o triggers.Order) (any, error) {
		if o.Service == "tts" {
			return nil, fmt.Errorf("%w: it is being upgraded", triggers.ErrRefused)
		}
		return "no recovery will start by itself", nil
	})
	each := func(verb, body string) (all []triggers.EachAnswer) {
		status, text := s.post("anna", "/api/v1/"+verb, body, "1")
		if err := json.Unmarshal([]byte(text), &all); err != nil || status != 200 || len(all) != 3 {
			t.Fatalf("%d %s (%v)", status, text, err)
		}
		return all
	}
	if all := each("pause", `{"reason":"r"}`); !all[0].OK || all[0].Leaves == "" || all[1].OK || all[1].Problem != "it is being upgraded" || !all[2].OK {
		t.Errorf("%+v", all)
	}
	s.Set("tts", func(g *workflows.GuardState) { g.Paused = &workflows.Pause{By: "bert"} })
	if all := each("resume", ""); all[0].Leaves != "it was not paused" || !all[0].OK || all[1].OK || all[1].Problem != "it is being upgraded" {
		t.Errorf("%+v", all)
	}
	if len(s.Entries()) != 4 {
		t.Errorf("the audit has %d lines", len(s.Entries()))
	}
}
