package workflows

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
)

func TestReadiness(t *testing.T) {
	w := newWorld()
	w.findings[hotURL] = runbooks.Refuses
	env := w.env(t, ReadinessID("asr"))
	env.SetTestTimeout(30 * time.Second)
	env.OnActivity(acts.AskGuard, mock.Anything, mock.Anything).Return(func(context.Context, activities.AskGuardInput) (activities.Held, error) {
		return on("primary", 7), nil
	})
	state := func() (s ReadinessState) {
		value, err := env.QueryWorkflow(StateQueryName)
		if err == nil {
			err = value.Get(&s)
		}
		if err != nil {
			t.Error(err)
		}
		return s
	}
	find := func(s ReadinessState, tier, check string) activities.Finding {
		for _, f := range s.Findings {
			if f.Tier == tier && f.Check == check {
				return f
			}
		}
		return activities.Finding{}
	}
	env.RegisterDelayedCallback(func() {
		s := state()
		if f := find(s, "hot", "standby"); f.Level != "" {
			t.Errorf("it was looked at before its time: %+v", f)
		}
	}, readyFirst/2)
	var since time.Time
	env.RegisterDelayedCallback(func() {
		s := state()
		if len(s.Failing("hot")) == 0 || find(s, "hot", "proof").Level != activities.LevelWarn {
			t.Errorf("a dead standby: %+v", s.Findings)
		}
		since = s.Failing("hot")[0].Since
		if len(w.news) != 1 {
			t.Errorf("%d news", len(w.news))
		}
	}, readyFirst+time.Minute)
	env.RegisterDelayedCallback(func() {
		if s := state(); len(s.Failing("hot")) == 0 || !s.Failing("hot")[0].Since.Equal(since) || len(w.news) != 1 {
			t.Errorf("the second look: %+v, %d news", s.Findings, len(w.news))
		}
		w.change(func() { w.findings[hotURL] = runbooks.Answers })
	}, readyFirst+readyEvery+time.Minute)
	env.RegisterDelayedCallback(func() {
		order(env, LookUpdateName, nil)
	}, readyFirst+readyEvery+2*time.Minute)
	env.RegisterDelayedCallback(func() {
		s := state()
		if len(s.Failing("hot")) != 0 || find(s, "hot", "canary").Level != activities.LevelOK || len(w.news) != 2 {
			t.Errorf("mended, and looked at on demand: %+v, %d news", s.Findings, len(w.news))
		}
		env.CancelWorkflow()
	}, readyFirst+readyEvery+3*time.Minute)
	env.ExecuteWorkflow(Readiness, ReadinessState{Service: "asr"})
}

// Two findings of one check are told apart by what they are about, and a look
// that failed keeps what was found before it.
func TestFindingsKeepTheirSince(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 21, 3, minute, 0, 0, time.UTC) }
	fail := func(about string) activities.Finding {
		return activities.Finding{Tier: "cold", Check: "model", About: about, Level: activities.LevelFail}
	}
	s := ReadinessState{Service: "asr"}
	s.merge(at(0), []activities.Finding{fail("a")})
	if worse, better := s.merge(at(1), []activities.Finding{fail("a"), fail("b")}); len(worse) != 1 || worse[0].About != "b" || len(better) != 0 {
		t.Errorf("worse %+v, better %+v", worse, better)
	}
	for range 2 {
		s.blind(at(2), "the worker is busy")
	}
	if len(s.Findings) != 3 || len(s.Failing("cold")) != 2 || s.Findings[2].Check != "look" || !s.At.Equal(at(1)) {
		t.Errorf("%+v", s)
	}
	worse, better := s.merge(at(3), []activities.Finding{fail("b")})
	if len(worse) != 0 || len(better) != 1 || better[0].About != "a" || len(s.Findings) != 1 || !s.Findings[0].Since.Equal(at(1)) {
		t.Errorf("worse %+v, better %+v, %+v", worse, better, s.Findings)
	}
}

// A change leads to a look at once. People hear of what it found only if it is
// still so at the next look: of what has just happened they know.
func TestReadinessLooksAfterAChange(t *testing.T) {
	w := newWorld()
	env := w.env(t, ReadinessID("asr"))
	env.SetTestTimeout(30 * time.Second)
	env.OnActivity(acts.AskGuard, mock.Anything, mock.Anything).Return(on("primary", 7), nil)
	var s ReadinessState
	after := func(at time.Duration, looks int64, failing, news int) {
		env.RegisterDelayedCallback(func() {
			value, err := env.QueryWorkflow(StateQueryName)
			if err == nil {
				err = value.Get(&s)
			}
			if err != nil || s.Looks != looks || (len(s.Failing("hot")) > 0) != (failing > 0) || len(w.news) != news {
				t.Errorf("after %s: %d looks, failing %+v, %d news; %v", at, s.Looks, s.Failing("hot"), len(w.news), err)
			}
		}, at)
	}
	change := func(at time.Duration, found runbooks.Finding) {
		env.RegisterDelayedCallback(func() {
			w.change(func() { w.findings[hotURL] = found })
			env.SignalWorkflow(ChangedSignalName, nil)
			env.SignalWorkflow(ChangedSignalName, nil) // both are seen by one look
		}, at)
	}
	after(readyFirst+time.Minute, 1, 0, 0)
	change(readyFirst+2*time.Minute, runbooks.Refuses)
	after(readyFirst+3*time.Minute, 2, 1, 0)
	after(readyFirst+3*time.Minute+readyEvery, 3, 1, 1)
	change(readyFirst+4*time.Minute+readyEvery, runbooks.Answers)
	after(readyFirst+5*time.Minute+readyEvery, 4, 0, 2)
	change(readyFirst+6*time.Minute+readyEvery, runbooks.Refuses)
	change(readyFirst+7*time.Minute+readyEvery, runbooks.Answers) // nobody was told, so nobody hears that it is mended
	after(readyFirst+8*time.Minute+readyEvery, 6, 0, 2)
	env.RegisterDelayedCallback(env.CancelWorkflow, readyFirst+9*time.Minute+readyEvery)
	env.ExecuteWorkflow(Readiness, ReadinessState{Service: "asr"})
}
