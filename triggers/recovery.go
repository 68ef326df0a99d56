package triggers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/workflows"
)

// RecoveryDetail is one recovery with its whole report.
type RecoveryDetail struct {
	ID     string           `json:"id"`
	Report workflows.Report `json:"report"`
	Link   string           `json:"link" doc:"the recovery in the Temporal UI"`
	// Verbs are what may be ordered now.
	Verbs []Verb `json:"verbs,omitempty" doc:"what may be ordered now, and in which state it leaves the service"`
}

var recoveryID = regexp.MustCompile(`^([a-z0-9-]+)-([0-9]+)$`)

// RecoveryName is the id of a recovery as people write it, such as fun-asr-7.
func RecoveryName(service string, epoch int64) string { return fmt.Sprintf("%s-%d", service, epoch) }

// ParseRecoveryID takes the id of a recovery apart, such as fun-asr-7.
func ParseRecoveryID(id string) (service string, epoch int64, ok bool) {
	parts := recoveryID.FindStringSubmatch(id)
	if parts == nil {
		return "", 0, false
	}
	epoch, err := strconv.ParseInt(parts[2], 10, 64)
	return parts[1], epoch, err == nil
}

// RecoveryPath names a recovery.
type RecoveryPath struct {
	ID string `path:"id" maxLength:"90" doc:"service and epoch, such as fun-asr-7"`
}

func (a *API) recovery(ctx context.Context, in *RecoveryPath) (*Body[RecoveryDetail], error) {
	detail, err := a.detail(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &Body[RecoveryDetail]{detail}, nil
}

// detail finds one recovery by its id.
func (a *API) detail(ctx context.Context, id string) (RecoveryDetail, error) {
	service, epoch, ok := ParseRecoveryID(id)
	if !ok {
		return RecoveryDetail{}, huma.Error404NotFound("a recovery's id is its service and its epoch, such as fun-asr-7")
	}
	report, err := a.report(ctx, service, epoch)
	if err != nil {
		return RecoveryDetail{}, huma.Error404NotFound(fmt.Sprintf("there is no recovery %d of %s", epoch, service), err)
	}
	return RecoveryDetail{ID: id, Report: report, Link: a.Link(workflows.RecoveryID(service, epoch)), Verbs: verbs(report)}, nil
}

// report finds a recovery's report: written down, or live in the engine.
func (a *API) report(ctx context.Context, service string, epoch int64) (report workflows.Report, err error) {
	content, err := a.Reports.Read(ctx, workflows.ReportName(service, epoch)+".json")
	if err == nil {
		return report, json.Unmarshal(content, &report)
	}
	if !errors.Is(err, reports.ErrNone) {
		return report, err
	}
	return a.progress(ctx, service, epoch)
}

// away is the answer where the engine or a store does not answer.
func away(what string, err error) error { return huma.Error503ServiceUnavailable(what, err) }
