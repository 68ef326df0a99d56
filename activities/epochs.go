package activities

import (
	"context"
	"errors"
	"time"

	"github.com/understudy-dr/understudy/activities/epoch"
)

// ReadEpochInput names a service.
type ReadEpochInput struct {
	Service string `json:"service"`
}

// ReadEpochResult is what is written down outside Temporal.
type ReadEpochResult struct {
	// Epoch is the highest one recorded; 0 where none is.
	Epoch  int64  `json:"epoch"`
	Active string `json:"active,omitempty"`
	// Away is why the store could not be read; empty where it could, or where there is none.
	Away string `json:"away,omitempty"`
	// Configured reports whether there is a store at all.
	Configured bool `json:"configured"`
}

// ReadEpoch reads the highest epoch of a service from the epoch store. It only looks.
func (a *Activities) ReadEpoch(ctx context.Context, in ReadEpochInput) (ReadEpochResult, error) {
	if a.Epochs == nil {
		return ReadEpochResult{}, nil
	}
	out := ReadEpochResult{Configured: true}
	ctx, cancel := context.WithTimeout(ctx, LookLimit-200*time.Millisecond)
	defer cancel()
	r, err := a.Epochs.Read(ctx, in.Service)
	switch {
	case err == nil:
		out.Epoch, out.Active = r.Epoch, r.Active
	case errors.Is(err, epoch.ErrNone):
	default:
		out.Away = err.Error()
	}
	return out, nil
}

// ClaimEpochInput records that a recovery acts on a service.
type ClaimEpochInput struct {
	Effect
	Holder string `json:"holder"`
	// Active is where the service runs since; empty while that is not decided.
	Active string `json:"active,omitempty"`
}

// ClaimEpoch writes the epoch of a recovery to the epoch store, where there is
// one. It is idempotent for its holder; where somebody else holds the epoch or
// a later one it fails with ErrTypeSuperseded.
func (a *Activities) ClaimEpoch(ctx context.Context, in ClaimEpochInput) error {
	if a.Epochs == nil {
		return nil
	}
	if err := a.effects.still(in.Effect); err != nil {
		return classify(err)
	}
	return classify(a.Epochs.Write(ctx, epoch.Record{
		Service: in.Service, Epoch: in.Epoch, Holder: a.holder(in.Holder), Active: in.Active, At: time.Now().UTC(),
	}))
}
