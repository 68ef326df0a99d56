package activities

import (
	"context"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/understudy-dr/understudy/activities/reports"
)

// pastRuns are so many of the latest reports with which one is compared.
const pastRuns = 20

// WriteReportInput is a finished report.
type WriteReportInput struct {
	// Files by name, such as fun-asr/7.json.
	Files map[string]string `json:"files"`
}

// WriteReport keeps a report outside Temporal: with what earlier ones say about
// its steps, as JSON, as Markdown and as a page to print, chained to the report
// before it. Each place has a chain of its own, and one that is away keeps the
// report from no other. It is idempotent.
func (a *Activities) WriteReport(ctx context.Context, in WriteReportInput) error {
	again := activity.IsActivity(ctx) && activity.GetInfo(ctx).Attempt > 1
	var failed []error
	for _, name := range slices.Sorted(maps.Keys(in.Files)) {
		if path.Ext(name) != ".json" {
			continue
		}
		b := reports.Bundle{Name: strings.TrimSuffix(name, ".json"), JSON: []byte(in.Files[name]), Files: map[string][]byte{}, Again: again, Now: time.Now()}
		for other, content := range in.Files {
			if ext := path.Ext(other); ext != ".json" && strings.TrimSuffix(other, ext) == b.Name {
				b.Files[ext] = []byte(content)
			}
		}
		if a.Traces != nil && !again {
			a.Traces(b.JSON)
		}
		a.print(ctx, &b)
		for _, place := range reports.Each(a.Reports) {
			failed = append(failed, reports.Keep(ctx, place, b))
		}
	}
	return classify(errors.Join(failed...))
}

// print adds what earlier reports say, and the files for people. A report is
// kept without them where they cannot be had.
func (a *Activities) print(ctx context.Context, b *reports.Bundle) {
	past, err := reports.Recall(ctx, a.Reports, path.Dir(b.Name), b.Name, pastRuns)
	if err == nil && len(past.Runs) > 0 {
		if text, err := reports.With(b.JSON, "past", past); err == nil {
			b.JSON = text
		}
	}
	if a.Print == nil {
		return
	}
	printed, err := a.Print(b.JSON)
	if err != nil {
		if activity.IsActivity(ctx) {
			activity.GetLogger(ctx).Warn("a report could not be printed; it is kept as JSON", "report", b.Name, "error", err)
		}
		return
	}
	maps.Copy(b.Files, printed)
}

// pace is how long the steps of a tier took in the latest runs; nothing where
// that cannot be known.
func (a *Activities) pace(ctx context.Context, service, tier string) []reports.Pace {
	if a.Reports == nil {
		return nil
	}
	past, err := reports.Recall(ctx, a.Reports, service, "", pastRuns)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(past.Steps, func(p reports.Pace) bool { return p.Tier != tier })
}

// RecoveryStatus is how a recovery stands, asked from outside it.
type RecoveryStatus struct {
	Running bool `json:"running"`
	// Result is that of a closed run; nil where it ended without one.
	Result *RecoveryResult `json:"result,omitempty"`
}

// RecoveryResult is what a guard must know of a recovery that has ended.
type RecoveryResult struct {
	Epoch   int64  `json:"epoch"`
	Outcome string `json:"outcome"`
	// Active is where the service runs since: primary, or a tier.
	Active string `json:"active"`
	// Made is the machine on which the service runs; nil where it runs on none of ours.
	Made *Made `json:"made,omitempty"`
	// Proven are the tiers whose standbys gave a right answer.
	Proven []Proven `json:"proven,omitempty"`
	// DataEpoch is the epoch below whose prefix the service's data is written since; it counts where DataKnown.
	DataEpoch int64 `json:"data_epoch,omitempty"`
	DataKnown bool  `json:"data_known,omitempty"`
	// Reason is one sentence.
	Reason string `json:"reason"`
	// Verdict is what was diagnosed.
	Verdict string `json:"verdict"`
	// Lost says that the new active failed within the confirm window.
	Lost string `json:"lost,omitempty"`
	// Fenced are the servers that must stay off the traffic.
	Fenced []string `json:"fenced,omitempty"`
	Tier   string   `json:"tier,omitempty"`
	// RTOSeconds is zero where the service did not come back.
	RTOSeconds float64 `json:"rto_seconds,omitempty"`
	// Person says that a person is needed.
	Person bool `json:"person,omitempty"`
}

// FindRecoveryInput names a recovery.
type FindRecoveryInput struct {
	Service string `json:"service"`
	Epoch   int64  `json:"epoch"`
}

// FindRecovery asks the engine how a recovery stands: its message to the guard
// may have been lost with a run that continued as new. It only looks.
func (a *Activities) FindRecovery(ctx context.Context, in FindRecoveryInput) (RecoveryStatus, error) {
	status, err := a.Guards.Running(ctx, in.Service, in.Epoch)
	return status, classify(err)
}

// EndRecoveryInput names a recovery that must make way.
type EndRecoveryInput struct {
	Service string `json:"service"`
	Epoch   int64  `json:"epoch"`
	Reason  string `json:"reason"`
}

// EndRecovery terminates a recovery that did not heed its cancellation. It is idempotent.
func (a *Activities) EndRecovery(ctx context.Context, in EndRecoveryInput) error {
	return classify(a.Guards.Terminate(ctx, in.Service, in.Epoch, in.Reason))
}
