package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/tests/fakeslack"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// hold is how long news wait before they are shown: they come from several places, each asked now and then, and
	// are shown in the order in which they happened.
	hold = 800 * time.Millisecond
	// lasting steps are shown when they begin, too. Together with the time between two looks it is less than the hold.
	lasting = 300 * time.Millisecond
)

// news is one line of the timeline.
type news struct {
	at        time.Time
	who, text string
	style     style
}

// timeline collects what happens and shows it in order, with its time since the kill.
type timeline struct {
	show *show
	zero time.Time

	mu      sync.Mutex
	waiting []news
	// headline is what the Slack message shows.
	headline string
	// steps are the states in which the recovery's steps were told, by their place.
	steps map[int]string
	// begun is set once the recovery's beginning is told.
	begun bool
}

func newTimeline(s *show) *timeline { return &timeline{show: s, steps: map[int]string{}} }

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
	for _, server := range []string{"primary", "hot"} {
		state, old := word(now[server]), word(before[server])
		if state == old || old == "" {
			continue
		}
		text := fmt.Sprintf("%s is %s", server, state)
		switch {
		case server == "primary" && state == "DOWN" && word(now["hot"]) == "UP":
			text += " to its checks; hot is its backup and has the traffic now"
		case server == "primary" && state == "DOWN":
			text += " to its checks; nobody has the traffic"
		case server == "primary" && state == "MAINT":
			text += ": pinned off the traffic, it cannot flap back"
		case state == "MAINT":
			text += ": off the traffic"
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
	if !t.begun {
		t.begun = true
		t.add(news{r.Trigger.OutageSince, "Prometheus", "raises " + strings.TrimPrefix(r.Trigger.Text, "alert "), asking})
		t.add(news{r.Trigger.Received, "Alertmanager", "its webhook reaches Understudy: recovery " + id + " begins", asking})
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
