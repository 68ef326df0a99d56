package workflows

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/chat"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// readyEvery is the pause between two looks at a service's standbys.
	readyEvery = 30 * time.Minute
	// readyFirst is when the first look comes after the start: whatever was going on is taken up before that.
	readyFirst = time.Minute
	// readySettles is the pause between a change and the look at it: changes come together.
	readySettles = 3 * time.Second
	// readyCanaryEvery is the pause between two canaries to idle standbys: each costs a real inference.
	readyCanaryEvery = 6 * time.Hour
	// readyRuns is how many looks a run takes before it continues as new.
	readyRuns = 100
)

// ReadinessStory begins the names of the stories that readiness tells.
const ReadinessStory = "readiness-"

// ReadinessState is what is known, before any disaster, of "would each tier
// work right now?".
type ReadinessState struct {
	Service  string               `json:"service"`
	Findings []activities.Finding `json:"findings,omitempty"`
	At       time.Time            `json:"at,omitzero"`
	CanaryAt time.Time            `json:"canary_at,omitzero"`
	// Looks counts since the beginning; it numbers the news as well.
	Looks int64 `json:"looks"`
	// Untold are findings of a look that a change led to: people know of what has just happened, and are told only of
	// what is still so at the next look.
	Untold []activities.Finding `json:"untold,omitempty"`
}

// Failing are the findings because of which a recovery would fail, of one tier,
// or, with an empty name, of all.
func (s ReadinessState) Failing(tier string) (found []activities.Finding) {
	for _, f := range s.Findings {
		if f.Level == activities.LevelFail && (tier == "" || f.Tier == tier) {
			found = append(found, f)
		}
	}
	return found
}

// told are the checks of which people hear although a recovery would still work:
// something is gone that the next trouble would need.
var told = []string{"machine", "disk", "secrets"}

// notable reports whether people are told of a finding.
func notable(f activities.Finding) bool {
	return f.Level == activities.LevelFail || f.Level == activities.LevelWarn && slices.Contains(told, f.Check)
}

// merge takes new findings over: what was found before keeps its since. It
// returns what is new, and what is mended, of those that people are told of.
func (s *ReadinessState) merge(now time.Time, found []activities.Finding) (worse, better []activities.Finding) {
	for i := range found {
		known := slices.IndexFunc(s.Findings, func(old activities.Finding) bool { return same(old, found[i]) })
		found[i].Since = now
		if known >= 0 {
			found[i].Since = s.Findings[known].Since
		} else if notable(found[i]) {
			worse = append(worse, found[i])
		}
	}
	for _, old := range s.Findings {
		if notable(old) && !slices.ContainsFunc(found, func(f activities.Finding) bool { return same(old, f) }) {
			better = append(better, old)
		}
	}
	s.Findings, s.At = found, now
	return worse, better
}

// Readiness looks at a service's standbys every half an hour, when something has
// changed, and on demand, and tells people when a tier would fail, before the disaster does.
func Readiness(ctx workflow.Context, s ReadinessState) error {
	asked := 0
	err := errors.Join(
		workflow.SetQueryHandler(ctx, StateQueryName, func() (ReadinessState, error) { return s, nil }),
		workflow.SetUpdateHandler(ctx, LookUpdateName, func(ctx workflow.Context) (ReadinessState, error) {
			before := s.Looks
			asked++
			err := workflow.Await(ctx, func() bool { return s.Looks > before })
			return s, err
		}),
	)
	if err != nil {
		return err
	}
	changed := workflow.GetSignalChannel(ctx, ChangedSignalName)
	pause := readyEvery
	if s.Looks == 0 {
		// Nor does anybody want an inference at each start: the first canary comes in its turn, or on demand.
		pause, s.CanaryAt = readyFirst, workflow.Now(ctx)
	}
	for run := 0; run < readyRuns; run++ {
		_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
			Timeout: pause, TimerOptions: workflow.TimerOptions{Summary: "until the next look"},
		}, func() bool { return asked > 0 || changed.Len() > 0 })
		quiet := err == nil && asked == 0 && changed.Len() > 0
		if quiet {
			err = workflow.Sleep(ctx, readySettles)
		}
		if err != nil {
			return err
		}
		for changed.ReceiveAsync(nil) { // all of it is seen by the look that comes now
		}
		served := asked
		s.look(ctx, served > 0, quiet && served == 0)
		asked -= served
		pause = readyEvery
	}
	if err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) }); err != nil {
		return err
	}
	return workflow.NewContinueAsNewError(ctx, Readiness, s)
}

// blind notes that a look failed: what was found before it is kept, and says
// that it is old.
func (s *ReadinessState) blind(now time.Time, why string) {
	f := activities.Finding{Check: "look", Level: activities.LevelWarn, What: "it could not be looked: " + why, Do: "the other findings are older than that; look again: understudy readiness " + s.Service + " --now", Since: now}
	s.Findings = slices.DeleteFunc(s.Findings, func(old activities.Finding) bool {
		if old.Check == f.Check {
			f.Since = old.Since
		}
		return old.Check == f.Check
	})
	s.Findings = append(s.Findings, f)
}

// later keeps what a quiet look found for the next look to tell, and adds to
// any other look what is untold and still so. What nobody was told of is not
// told when it is mended.
func (s *ReadinessState) later(worse, better []activities.Finding, quiet bool) (tellWorse, tellBetter []activities.Finding) {
	better = slices.DeleteFunc(better, func(f activities.Finding) bool {
		return slices.ContainsFunc(s.Untold, func(untold activities.Finding) bool { return same(untold, f) })
	})
	for _, f := range s.Untold {
		if slices.ContainsFunc(s.Findings, func(now activities.Finding) bool { return same(now, f) }) {
			worse = append(worse, f)
		}
	}
	s.Untold = nil
	if quiet {
		s.Untold, worse = worse, nil
	}
	return worse, better
}

// same reports whether two findings are about one thing.
func same(a, b activities.Finding) bool {
	return a.Tier == b.Tier && a.Check == b.Check && a.About == b.About && a.Level == b.Level
}

// look looks once. What cannot be looked at is a finding as well.
func (s *ReadinessState) look(ctx workflow.Context, onDemand, quiet bool) {
	defer func() { s.Looks++ }()
	loaded, err := glance(ctx, "load the runbook", acts.LoadRunbook, activities.LoadRunbookInput{Service: s.Service})()
	if err != nil {
		s.blind(workflow.Now(ctx), "its runbook cannot be read: "+reason(err))
		return
	}
	where, err := do(ctx, handOver, "ask the guard where the service runs", acts.AskGuard, activities.AskGuardInput{Service: s.Service})
	if err != nil {
		s.blind(workflow.Now(ctx), "the guard does not answer: "+reason(err))
		return
	}
	active, ok := loaded.Runbook.TargetNamed(where.Active)
	if !ok {
		s.blind(workflow.Now(ctx), "the runbook has no "+where.Active+", where the service runs")
		return
	}
	now := workflow.Now(ctx)
	in := activities.CheckReadinessInput{
		Runbook: loaded.Runbook, Active: active, DataEpoch: where.DataEpoch, DataKnown: where.DataKnown,
		Canaries: onDemand || now.Sub(s.CanaryAt) >= readyCanaryEvery,
	}
	options := longLook
	options.ScheduleToCloseTimeout = 5 * time.Minute
	result, err := do(ctx, options, "would each tier of "+s.Service+" work right now?", acts.CheckReadiness, in)
	if err != nil {
		s.blind(now, reason(err))
		return
	}
	if in.Canaries {
		s.CanaryAt = now
	} else {
		result.Findings = append(result.Findings, s.canaries()...)
	}
	worse, better := s.merge(now, append(result.Findings, proofs(loaded.Runbook, where, now)...))
	worse, better = s.later(worse, better, quiet)
	workflow.SetCurrentDetails(ctx, s.details())
	if len(worse)+len(better) == 0 || len(loaded.Runbook.Notify) == 0 || s.Looks == 0 && len(worse) == 0 {
		return
	}
	m := chat.Message{Color: chat.Asking, Headline: s.Service + ": a tier would fail"}
	switch {
	case len(s.Failing("")) > 0:
	case len(worse) > 0:
		m.Headline = s.Service + ": every tier would work, and something needs mending"
	default:
		m = chat.Message{Color: chat.Good, Headline: s.Service + ": every tier is ready again"}
	}
	for _, f := range worse {
		m.Lines = append(m.Lines, findingText(f))
	}
	for _, f := range better {
		m.Lines = append(m.Lines, "mended: "+tierText(f)+f.What)
	}
	_ = perform(ctx, handOver, "tell people: "+m.Headline, acts.Announce, activities.AnnounceInput{
		Service: s.Service, Story: fmt.Sprint(ReadinessStory, s.Looks), Seq: 1, Notify: loaded.Runbook.Notify, Message: m, Final: true,
	})
}

// canaries are the findings of the latest canaries, which are not sent each time.
func (s *ReadinessState) canaries() (found []activities.Finding) {
	for _, f := range s.Findings {
		if f.Check == "canary" {
			found = append(found, f)
		}
	}
	return found
}

func (s *ReadinessState) details() string {
	text := fmt.Sprintf("**%s**, looked at %s\n", s.Service, stamp(s.At))
	marks := map[string]string{activities.LevelOK: "✅", activities.LevelWarn: "⚠️", activities.LevelFail: "❌"}
	for _, f := range s.Findings {
		text += fmt.Sprintf("- %s %s**%s**: %s\n", marks[f.Level], tierText(f), f.Check, plain(f.What))
	}
	return cut(text, 4000)
}

func tierText(f activities.Finding) string {
	if f.Tier == "" {
		return ""
	}
	return f.Tier + " "
}

func findingText(f activities.Finding) string {
	text := tierText(f) + f.Check + ": " + f.What
	if f.Do != "" {
		text += ". " + f.Do
	}
	return text
}

// staleProof is after how long a proof is so old that the runbook's drill should be looked at.
const staleProof = 120 * 24 * time.Hour

// proofs says of each tier when it was proven last, and how long that took.
func proofs(r runbooks.Runbook, held activities.Held, now time.Time) (found []activities.Finding) {
	for _, t := range r.Tiers {
		if t.Name == held.Active {
			continue
		}
		f := activities.Finding{Tier: t.Name, Check: "proof", Level: activities.LevelWarn, What: "it was never proven", Do: "understudy drill " + r.Service + " --tier " + t.Name}
		if i := slices.IndexFunc(held.Proofs, func(p activities.Proven) bool { return p.Tier == t.Name }); i >= 0 {
			p := held.Proofs[i]
			f.What = fmt.Sprintf("%s %s ago, %.1f s", map[string]string{ModeDrill: "drilled", ModeLive: "used"}[p.Mode], age(now.Sub(p.At)), p.Seconds)
			if now.Sub(p.At) < staleProof {
				f.Level, f.Do = activities.LevelOK, ""
			}
		}
		found = append(found, f)
	}
	return found
}

// age words a long time as people do.
func age(d time.Duration) string {
	switch {
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}
