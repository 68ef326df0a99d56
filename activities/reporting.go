package activities

import (
	"context"
)

// WriteReportInput is a finished report.
type WriteReportInput struct {
	// Files by name, such as fun-asr/7.json.
	Files map[string]string `json:"files"`
}

// WriteReport keeps a report outside Temporal. It is idempotent.
func (a *Activities) WriteReport(ctx context.Context, in WriteReportInput) error {
	for name, content := range in.Files {
		if err := a.Reports.Write(ctx, name, []byte(content)); err != nil {
			return classify(err)
		}
	}
	return nil
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
