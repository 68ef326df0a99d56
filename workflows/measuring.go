package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"
)

// Names of the metrics that workflows keep. A replay adds nothing to them. The
// exporter puts _seconds behind times.
const (
	recoveriesMetric = "understudy_recoveries_total"        // ended ones, by service, mode, tier and outcome
	verdictsMetric   = "understudy_verdicts_total"          // by service and verdict
	rtoMetric        = "understudy_recovery_time"           // from the outage's start to the verified answer
	stepMetric       = "understudy_recovery_step"           // by step, tier and state
	lagMetric        = "understudy_announcement_lag"        // from news to the message that tells them, by kind of chat
	decisionsMetric  = "understudy_guard_decisions_total"   // by service and action
	untoldMetric     = "understudy_announcement_lost_total" // news that a chat refused for good
)

// count adds one to a metric.
func count(ctx workflow.Context, metric string, tags map[string]string) {
	workflow.GetMetricsHandler(ctx).WithTags(tags).Counter(metric).Inc(1)
}

// clocked adds a duration to a metric.
func clocked(ctx workflow.Context, metric string, took time.Duration, tags map[string]string) {
	workflow.GetMetricsHandler(ctx).WithTags(tags).Timer(metric).Record(max(took, 0))
}

// measure keeps how a recovery ended.
func (r *recovery) measure(ctx workflow.Context) {
	count(ctx, recoveriesMetric, map[string]string{"service": r.in.Service, "mode": r.in.Mode, "tier": r.report.Tier, "outcome": r.report.Outcome})
	if r.report.Verdict != "" {
		count(ctx, verdictsMetric, map[string]string{"service": r.in.Service, "verdict": r.report.Verdict})
	}
	if !r.report.Verified.IsZero() && r.in.Mode != ModeDrill {
		took := time.Duration(r.report.RTOSeconds * float64(time.Second))
		clocked(ctx, rtoMetric, took, map[string]string{"service": r.in.Service, "tier": r.report.Tier})
	}
}
