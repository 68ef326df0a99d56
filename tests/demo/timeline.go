package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/fakeslack"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// hold is how long news wait before they are shown: they come from several places, each asked now and then, and
	// are shown in the order in which they happened. A step is told when its activity ends; the longest that does
	// something quick, and then goes on, is the switch with its canary.
	hold = 1600 * time.Millisecond
	// lasting steps are shown when they begin, too. Together with the time between two looks it is less than the hold.
	lasting = 300 * time.Millisecond
)

// news is one line of the timeline.
type news struct {
	at        time.Time
	who, text string
	style     style
}

// servers are those of the service, by their names at HAProxy.
var servers = []string{runbooks.PrimaryName, runbooks.TierHot, runbooks.TierCold}

// timeline collects what happens in an act and shows it in order, with its time
// since the kill.
type timeline struct {
	show *show

	mu      sync.Mutex
	zero    time.Time
	waiting []news
	// headline is what the Slack message shows.
	headline string
	// steps are the states in which the recovery's steps were told, by their place.
	steps map[int]string
	// told is the recovery whose beginning is told; a false alarm may have come before the one that the act is about.
	told string
}

func newTimeline(s *show) *timeline { return &timeline{show: s} }

// begin begins an act.
func (t *timeline) begin(kill time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.zero, t.waiting, t.told = kill, nil, ""
}

func (t *timeline) add(n news) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = append(t.waiting, n)
}

// flush shows what is older than the hold; all of it at the end.
func (t *timeline) flush(all bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortStableFunc(t.waiting, func(a, b news) int { return a.at.Compare(b.at) })
	for len(t.waiting) > 0 && (all || time.Since(t.waiting[0].at) > hold) {
		n := t.waiting[0]
		t.waiting = t.waiting[1:]
		t.show.row(
			cell{fmt.Sprintf("%+7.3f s", n.at.Sub(t.zero).Seconds()), 12, dim}, cell{n.who, 14, n.style}, cell{text: n.text})
	}
}

// slack takes what people see change in Slack. The thread repeats the timeline, so only the message is news.
func (t *timeline) slack(c fakeslack.Change) {
	headline, _, _ := strings.Cut(c.Text, "\n")
	if c.What == "replied" || headline == t.headline {
		return
	}
	t.headline = headline
	t.add(news{time.Now(), "Slack", c.What + ": " + headline, chat})
}

// balancer takes what HAProxy shows of its servers, and tells what has changed.
func (t *timeline) balancer(now, before map[string]string) {
	up := slices.ContainsFunc(servers, func(server string) bool { return word(now[server]) == "UP" })
	for _, server := range servers {
		state, old := word(now[server]), word(before[server])
		if state == old || old == "" {
			continue
		}
		text := fmt.Sprintf("%s is %s", server, state)
		switch {
		case state == "DOWN" && old == "UP" && up:
			text += " to its checks; its backup has the traffic now"
		case state == "DOWN" && old == "UP":
			text += " to its checks; nobody has the traffic"
		case state == "MAINT":
			text += ": pinned off the traffic, it cannot flap back"
		case state == "UP":
			text += ": it takes the traffic"
		}
		t.add(news{time.Now(), "HAProxy", text, asking})
	}
}

// word is the state without its progress: UP of "UP 1/2".
func word(status string) string {
	first, _, _ := strings.Cut(status, " ")
	return first
}

// recovery takes the report as it stands, and tells what is new in it.
func (t *timeline) recovery(id string, r workflows.Report) {
	if t.told != id {
		t.told, t.steps = id, map[int]string{}
		if r.Mode == workflows.ModeFailback {
			t.add(news{r.Trigger.Received, r.Trigger.By, r.Trigger.Text + ": " + id + " begins", asking})
		} else {
			t.add(news{r.Trigger.OutageSince, "Prometheus", "raises " + strings.TrimPrefix(r.Trigger.Text, "alert "), asking})
			t.add(news{r.Trigger.Received, "Alertmanager", "its webhook reaches Understudy: recovery " + id + " begins", asking})
		}
	}
	for i, rec := range r.Timeline {
		if t.steps[i] == rec.State {
			continue
		}
		what := rec.Step
		if rec.Tier != "" {
			what += " (" + rec.Tier + ")"
		}
		n := news{rec.Ended, "Understudy", what + ": " + rec.Reason, good}
		switch rec.State {
		case workflows.InProgress:
			if time.Since(rec.Started) < lasting {
				continue // most end at once
			}
			n.at, n.style = rec.Started, normal
		case workflows.Failed, workflows.Refused:
			n.text, n.style = what+": "+rec.State+": "+rec.Reason, bad
		}
		t.steps[i] = rec.State
		t.add(n)
	}
}
