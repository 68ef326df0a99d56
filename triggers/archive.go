package triggers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/workflows"
)

// maxKept bounds the reports whose summaries stay in memory.
const maxKept = 4096

// archive reads the reports of past recoveries. A report is written once, so
// what was read of it is kept: lists do not read the same files again and again.
type archive struct {
	store reports.Store
	mu    sync.Mutex
	kept  map[string]pastRecovery
}

// pastRecovery is what lists and plans need of a report.
type pastRecovery struct {
	Recovery
	run reports.Run
}

func newArchive(store reports.Store) *archive {
	return &archive{store: store, kept: map[string]pastRecovery{}}
}

// names lists the reports of a service, or of all, oldest first within each.
func (a *archive) names(ctx context.Context, service string) (map[string][]string, error) {
	prefix := ""
	if service != "" {
		prefix = service + "/"
	}
	names, err := a.store.List(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("list the reports: %w", err)
	}
	byService := map[string][]string{}
	for _, name := range names {
		of, _, below := strings.Cut(name, "/")
		if below && strings.HasSuffix(name, ".json") {
			byService[of] = append(byService[of], name)
		}
	}
	return byService, nil
}

// runs are the latest of a service, at most so many, the oldest first.
func (a *archive) runs(ctx context.Context, service string, most int) ([]reports.Run, error) {
	names, err := a.names(ctx, service)
	if err != nil {
		return nil, err
	}
	var runs []reports.Run
	for _, name := range names[service][max(0, len(names[service])-most):] {
		past, ok, err := a.read(ctx, name)
		if err != nil {
			return nil, err
		}
		if ok {
			runs = append(runs, past.run)
		}
	}
	slices.SortStableFunc(runs, func(x, y reports.Run) int { return x.Started.Compare(y.Started) })
	return runs, nil
}

// read returns one report's summary; false where the file is no report.
func (a *archive) read(ctx context.Context, name string) (past pastRecovery, ok bool, err error) {
	a.mu.Lock()
	past, ok = a.kept[name]
	a.mu.Unlock()
	if ok {
		return past, true, nil
	}
	content, err := a.store.Read(ctx, name)
	if errors.Is(err, reports.ErrNone) {
		return past, false, nil // removed since it was listed
	}
	if err != nil {
		return past, false, fmt.Errorf("read report %s: %w", name, err)
	}
	var report workflows.Report
	if json.Unmarshal(content, &report) != nil || report.Service == "" {
		return past, false, nil
	}
	past = pastRecovery{Recovery: Listed(report)}
	past.run, _ = reports.ReadRun(name, content)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.kept) >= maxKept {
		clear(a.kept)
	}
	a.kept[name] = past
	return past, true, nil
}
