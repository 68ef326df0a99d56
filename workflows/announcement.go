package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/chat"
)

// AnnouncementInput starts the announcement of one story.
type AnnouncementInput struct {
	Service string `json:"service"`
	Story   string `json:"story"`
}

// Waiting of an announcement: a chat that is away is asked less and less often,
// and given up after a day.
const (
	postFirst  = time.Second
	postMost   = 5 * time.Minute
	postFor    = 24 * time.Hour
	maxBacklog = 500 // lines that wait for a chat that is away; the newest are kept
)

// announcement brings the news of one story to every place: one message that
// edits itself, its thread as the log. It always sends the newest state; what a
// chat missed while it was away is caught up with in one edit and one reply.
type announcement struct {
	seq    int64
	newest activities.AnnounceInput
	// at is when they came.
	at     time.Time
	places []*place
	open   int
}

// place is one place where people read.
type place struct {
	ref *chat.Ref
	// shown is the number of the news that the message shows.
	shown int64
	// lines wait for the thread, after those that are on their way: what was tried once is tried again unchanged,
	// because it may have arrived.
	lines, sending []string
	// replies counts what was added to the thread.
	replies int
	failure string
}

// Announcement tells people one story, and ends when it is told everywhere.
func Announcement(ctx workflow.Context, in AnnouncementInput) error {
	a := &announcement{}
	workflow.Go(ctx, func(ctx workflow.Context) {
		channel := workflow.GetSignalChannel(ctx, NewsSignalName)
		for {
			var news activities.AnnounceInput
			channel.Receive(ctx, &news)
			a.take(ctx, in, news)
		}
	})
	if err := workflow.Await(ctx, func() bool { return a.newest.Final && a.open == 0 }); err != nil {
		return err
	}
	for _, p := range a.places {
		if p.failure != "" {
			return temporal.NewApplicationError("some people were not told: "+p.failure, "NotTold")
		}
	}
	return nil
}

// take takes in news; what is older than what is known is dropped.
func (a *announcement) take(ctx workflow.Context, in AnnouncementInput, news activities.AnnounceInput) {
	if news.Seq <= a.seq {
		return
	}
	a.seq, a.newest, a.at = news.Seq, news, workflow.Now(ctx)
	for len(a.places) < len(news.Notify) {
		p := &place{}
		a.places = append(a.places, p)
		a.open++
		i := len(a.places) - 1
		workflow.Go(ctx, func(ctx workflow.Context) {
			a.serve(ctx, in, i)
			a.open--
		})
	}
	for _, p := range a.places {
		p.lines = append(p.lines, news.Log...)
		if over := len(p.lines) - maxBacklog; over > 0 {
			p.lines = append([]string{fmt.Sprintf("… %d lines are left out here; the report has them", over)}, p.lines[over+1:]...)
		}
	}
}

// serve keeps one place up to date until the story is over.
func (a *announcement) serve(ctx workflow.Context, in AnnouncementInput, i int) {
	p, wait, began := a.places[i], postFirst, workflow.Now(ctx)
	retry := false
	for {
		stale := func() bool { return p.shown < a.seq || len(p.sending)+len(p.lines) > 0 }
		if workflow.Await(ctx, func() bool { return stale() || a.newest.Final }) != nil || !stale() {
			return
		}
		if len(p.sending) == 0 {
			p.sending, p.lines = p.lines, nil
		}
		news, at := a.newest, a.at
		result, err := do(ctx, postNews, "tell "+news.Notify[i].Kind+" "+news.Notify[i].Channel, acts.PostNews, activities.PostNewsInput{
			To: news.Notify[i], Ref: p.ref, Key: AnnouncementID(in.Service, in.Story), Message: news.Message, Edit: p.shown < news.Seq,
			Log: p.sending, LogKey: fmt.Sprintf("%s/%d", in.Story, p.replies), Retry: retry,
		})
		if err == nil {
			p.ref, p.shown = &result.Ref, news.Seq
			clocked(ctx, lagMetric, workflow.Now(ctx).Sub(at), map[string]string{"chat": news.Notify[i].Kind})
			if len(p.sending) > 0 {
				p.sending = nil
				p.replies++
			}
			p.failure, retry, wait = "", false, postFirst
			continue
		}
		p.failure, retry = reason(err), true
		if errorType(err) == activities.ErrTypeRefused || workflow.Now(ctx).Sub(began) > postFor {
			count(ctx, untoldMetric, map[string]string{"chat": news.Notify[i].Kind})
			p.shown, p.sending, p.lines = a.seq, nil, nil // it will never take this; newer news may be taken
			continue
		}
		var app *temporal.ApplicationError
		pause := wait
		if errors.As(err, &app) && app.NextRetryDelay() > pause {
			pause = app.NextRetryDelay()
		}
		if workflow.NewTimerWithOptions(ctx, pause, workflow.TimerOptions{Summary: "the chat is away: " + cut(plain(p.failure), 150)}).Get(ctx, nil) != nil {
			return
		}
		wait = min(2*wait, postMost)
	}
}
