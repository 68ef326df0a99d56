package triggers

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows"
)

// WayHome is what a failback would bring home, and whether it could now.
type WayHome struct {
	Service string `json:"service"`
	// From is where the service runs, since Since.
	From  string    `json:"from" doc:"where the service runs now: a tier"`
	Since time.Time `json:"since" doc:"since when"`
	// Primary says whether the primary would pass.
	Primary activities.Gate `json:"primary" doc:"whether the primary would pass its gate now"`
	Data    []DataAway      `json:"data,omitempty" doc:"what was written away from home, piece by piece"`
	// Batches are those that would rest, and go on at home.
	Batches []string `json:"batches,omitempty" doc:"batches that are at work: they rest on the way, and go on at home"`
	// Cost so far of the machine that serves, where its price is known.
	Cost float64 `json:"cost,omitempty" doc:"what the standby's machine has cost so far, in the runbook's currency"`
	// Pauses says whether the users have to wait while the data moves, PauseSeconds how long that took before, and
	// PauseMost how long it may take.
	Pauses       bool              `json:"pauses" doc:"whether the service is away from its users while its data moves"`
	PauseSeconds float64           `json:"pause_seconds,omitempty" doc:"how long that took before: the median"`
	PauseMost    runbooks.Duration `json:"pause_most,omitempty" doc:"after this everything is taken back"`
	// Refused says why a failback could not be ordered now.
	Refused string `json:"refused,omitempty" doc:"why it cannot be ordered now"`
}

// DataAway is one piece of data that is written on a standby.
type DataAway struct {
	Kind  string `json:"kind" doc:"litestream or files"`
	Path  string `json:"path"`
	Epoch int64  `json:"epoch" doc:"below whose prefix it is replicated"`
	// Changes is how many transactions, or files, are there.
	Changes int64     `json:"changes" doc:"how many transactions, or files, there are"`
	Last    time.Time `json:"last,omitzero" doc:"when the newest was written"`
	Problem string    `json:"problem,omitempty" doc:"why it could not be looked at"`
}

// String says it to people.
func (d DataAway) String() string {
	what := map[bool]string{true: "files", false: "transactions"}[d.Kind == "files"]
	if d.Problem != "" {
		return fmt.Sprintf("%s: %s", d.Path, d.Problem)
	}
	return fmt.Sprintf("%s: %d %s below epoch %d, the newest of %s", d.Path, d.Changes, what, d.Epoch, d.Last.Local().Format(time.DateTime))
}

// wayHome shows what a failback would do. It only looks.
func (a *API) wayHome(ctx context.Context, in *ServicePath) (*Body[WayHome], error) {
	r, ok := a.Library().Lookup(in.Service)
	if !ok {
		return nil, a.unknown(in.Service)
	}
	state, err := a.state(ctx, in.Service)
	if err != nil {
		return nil, err
	}
	home, _ := r.TargetNamed(runbooks.PrimaryName)
	if state.Active == runbooks.PrimaryName {
		return nil, huma.Error409Conflict(in.Service + " is at home, on its primary")
	}
	ctx, cancel := context.WithTimeout(ctx, gatesIn)
	defer cancel()
	w := WayHome{Service: in.Service, From: state.Active, Since: state.Since}
	if w.Primary, err = a.Standbys.CheckStandby(ctx, activities.CheckStandbyInput{Target: home, Health: r.Health, Version: r.Version, Settings: r.Settings}); err != nil {
		w.Primary.Refusals = append(w.Primary.Refusals, "it could not be asked: "+err.Error())
	}
	if state.DataKnown {
		for _, d := range r.DataOf(state.Active) {
			w.Data = append(w.Data, a.dataAway(ctx, d, state))
		}
	}
	if w.Pauses = len(w.Data) > 0; w.Pauses {
		w.PauseMost = r.Policy.Pause
	}
	if state.Made != nil {
		w.Cost = state.Made.Price * time.Since(state.Made.Since).Hours()
	}
	a.addBatches(ctx, r, &w)
	w.PauseSeconds = a.pauseBefore(ctx, in.Service, w.From)
	switch {
	case state.Running != nil:
		w.Refused = fmt.Sprintf("epoch %d is running; wait for its end", state.Running.Epoch)
	case w.Pauses && r.Primary.Activate == nil:
		w.Refused = "the runbook does not say how the primary takes the data over: primary.activate"
	}
	return &Body[WayHome]{w}, nil
}

func (a *API) dataAway(ctx context.Context, d runbooks.Data, s workflows.GuardState) DataAway {
	away := DataAway{Kind: d.Kind, Path: d.Path, Epoch: s.DataEpoch}
	found, err := a.Makers.LookAtData(ctx, activities.DataInput{Data: []runbooks.Data{d}, From: s.DataEpoch, Known: true, Before: s.Epoch + 1})
	if err != nil || len(found.Points) == 0 {
		away.Problem = fmt.Sprint("it could not be looked at: ", err)
		return away
	}
	point := found.Points[0].Point
	away.Last, away.Changes = point.At, int64(point.Items)
	if d.Kind == "litestream" {
		away.Changes, _ = strconv.ParseInt(point.Position, 16, 64) // transactions are numbered from 1
	}
	return away
}

// addBatches adds the batches that are at work, where they can be listed.
func (a *API) addBatches(ctx context.Context, r runbooks.Runbook, w *WayHome) {
	if r.BatchesOf(w.From) == nil {
		return
	}
	listed, err := a.batches(ctx, &ServicePath{Service: r.Service})
	if err != nil {
		a.Log.Warn("the way home says nothing of batches", "service", r.Service, "error", err)
		return
	}
	for _, b := range listed.Body {
		if b.Working {
			w.Batches = append(w.Batches, fmt.Sprintf("%s: %d of %d", b.Job, b.Succeeded+b.Failed+b.Quarantined, b.Items))
		}
	}
}

// pauseBefore is how long the steps took before in which nobody was served.
func (a *API) pauseBefore(ctx context.Context, service, from string) (seconds float64) {
	steps, err := a.expected(ctx, service)
	if err != nil {
		return 0
	}
	for _, e := range steps {
		switch {
		case e.Tier == from && (e.Step == runbooks.StepQuiesce || e.Step == runbooks.StepSync),
			e.Tier == runbooks.PrimaryName && (e.Step == runbooks.StepRestore || e.Step == runbooks.StepLoad || e.Step == runbooks.StepCutOver):
			seconds += e.Seconds
		}
	}
	return seconds
}
