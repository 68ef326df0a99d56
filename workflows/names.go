package workflows

import (
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
)

// TaskQueue is where guards, recoveries and announcements run. Batches have
// their own, so that a recovery never waits behind them.
const TaskQueue = "understudy"

// Names of the messages.
const (
	AlertSignalName    = "Alert"         // to a guard: AlertSignal
	EndedSignalName    = "RecoveryEnded" // to a guard: activities.RecoveryResult
	ResolvedSignalName = "Resolved"      // to a recovery: ResolvedSignal
	BootSignalName     = "Boot"          // to a recovery: activities.BootNews
	ChangedSignalName  = "Changed"       // to a readiness: nothing
	NewsSignalName     = "News"          // to an announcement: activities.AnnounceInput

	RecoverUpdateName  = "Recover"  // to a guard: RecoverUpdate, answers RecoverAnswer
	FailbackUpdateName = "Failback" // to a guard: FailbackUpdate, answers RecoverAnswer
	DrillUpdateName    = "Drill"    // to a guard: DrillUpdate, answers RecoverAnswer
	PauseUpdateName    = "Pause"    // to a guard: PauseUpdate
	ResumeUpdateName   = "Resume"   // to a guard: ResumeUpdate
	LookUpdateName     = "Look"     // to a readiness: looks at once, answers ReadinessState
	AbortUpdateName    = "Abort"    // to a recovery: AbortUpdate
	AnswerUpdateName   = "Answer"   // to a recovery: AnswerUpdate
	RetryUpdateName    = "Retry"    // to a recovery: StepUpdate
	SkipUpdateName     = "Skip"     // to a recovery: StepUpdate
	CommitUpdateName   = "Commit"   // to a recovery: SettleUpdate
	RollbackUpdateName = "Rollback" // to a recovery: SettleUpdate

	TakeUpdateName = "Take" // to the budget: activities.BudgetInput, answers BudgetResult

	StateQueryName    = "State"    // of a guard: GuardState; of the budget: BudgetState
	ProgressQueryName = "Progress" // of a recovery: Report
)

// GuardID is the workflow id of a service's guard.
func GuardID(service string) string { return "guard/" + service }

// RecoveryID is the workflow id of a recovery.
func RecoveryID(service string, epoch int64) string {
	return fmt.Sprintf("recovery/%s/%d", service, epoch)
}

// AnnouncementID is the workflow id of the announcement of a story.
func AnnouncementID(service, story string) string {
	return "announcement/" + service + "/" + story
}

// ReadinessID is the workflow id of a service's readiness.
func ReadinessID(service string) string { return "readiness/" + service }

// DrillScheduleID is the id of a service's schedule of drills, and SweepScheduleID that of the sweeper.
func DrillScheduleID(service string) string { return "drill/" + service }

// SweepScheduleID is the id of the sweeper's schedule.
const SweepScheduleID = "sweep"

// BatchQueue is where batches run, on a worker of their own.
const BatchQueue = "understudy-batches"

// BatchID is the workflow id of a batch.
func BatchID(service, job string) string { return "batch/" + service + "/" + job }

// BudgetID is the workflow id of the budget.
const BudgetID = "budget"

// ReportName is the name of a recovery's report without its extension; the
// epoch is padded so that names sort as epochs do.
func ReportName(service string, epoch int64) string { return fmt.Sprintf("%s/%020d", service, epoch) }

// Search attributes, set at the start of a recovery and once at its end.
var (
	ServiceKey = temporal.NewSearchAttributeKeyKeyword("UnderstudyService")
	TierKey    = temporal.NewSearchAttributeKeyKeyword("UnderstudyTier")
	ModeKey    = temporal.NewSearchAttributeKeyKeyword("UnderstudyMode")
	TriggerKey = temporal.NewSearchAttributeKeyKeyword("UnderstudyTrigger")
	OutcomeKey = temporal.NewSearchAttributeKeyKeyword("UnderstudyOutcome")
	RTOKey     = temporal.NewSearchAttributeKeyFloat64("UnderstudyRTOSeconds")
)

// SearchAttributes are those that an engine must have.
var SearchAttributes = map[string]enumspb.IndexedValueType{
	ServiceKey.GetName(): ServiceKey.GetValueType(),
	TierKey.GetName():    TierKey.GetValueType(),
	ModeKey.GetName():    ModeKey.GetValueType(),
	TriggerKey.GetName(): TriggerKey.GetValueType(),
	OutcomeKey.GetName(): OutcomeKey.GetValueType(),
	RTOKey.GetName():     RTOKey.GetValueType(),
}
