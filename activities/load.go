package activities

import (
	"context"

	"go.temporal.io/sdk/temporal"

	"github.com/understudy-dr/understudy/runbooks"
)

// ErrTypeNoRunbook: the service has no runbook (any more).
const ErrTypeNoRunbook = "NoRunbook"

// LoadRunbookInput names a service.
type LoadRunbookInput struct {
	Service string `json:"service"`
}

// LoadRunbookResult is what a guard needs to decide, as it stands now.
type LoadRunbookResult struct {
	Runbook runbooks.Runbook `json:"runbook"`
	// SearchAttributes reports whether the engine has Understudy's search attributes; a workflow that sets unknown ones gets stuck.
	SearchAttributes bool `json:"search_attributes"`
	// Console is where people read more.
	Console string `json:"console"`
}

// LoadRunbook returns the runbook of a service. It only looks.
func (a *Activities) LoadRunbook(_ context.Context, in LoadRunbookInput) (LoadRunbookResult, error) {
	r, ok := a.Library().Lookup(in.Service)
	if !ok {
		return LoadRunbookResult{}, temporal.NewNonRetryableApplicationError("service "+in.Service+" has no runbook; add one and reload", ErrTypeNoRunbook, nil)
	}
	return LoadRunbookResult{Runbook: r, SearchAttributes: a.SearchAttributes, Console: a.Links.Console}, nil
}
