// Package epoch keeps the epochs of services outside Temporal, so that two
// engines, or one that lost its data, cannot both act on one service.
//
// A record is moved only forward, by compare-and-swap. The implementations of
// [Store] are s3 (conditional writes) and etcd (transactions).
package epoch

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var (
	// ErrNone means that the service has no record yet.
	ErrNone = errors.New("no epoch is recorded")
	// ErrUnavailable means that the store did not answer, or answered what is no record. Whether a write happened
	// is then unknown; repeating it is safe.
	ErrUnavailable = errors.New("epoch store unavailable")
	// ErrUnsafe means that the store cannot compare and swap, so that two writers would both believe to have won.
	// It comes wrapped together with ErrUnavailable, and nothing was written to any record.
	ErrUnsafe = errors.New("the store ignores conditions on writes")
)

// Record says who acts on a service, and where the service runs since.
type Record struct {
	Service string `json:"service"`
	Epoch   int64  `json:"epoch"`
	// Holder is the recovery that took the epoch, as workflow id @ engine.
	Holder string `json:"holder"`
	// Active is the name of the target (primary or a tier) that serves since; empty while the recovery runs.
	Active string    `json:"active,omitempty"`
	At     time.Time `json:"at"`
}

// HeldError means that somebody else holds this epoch or a later one: the
// caller must not act.
type HeldError struct{ Current Record }

func (e *HeldError) Error() string {
	return fmt.Sprintf("epoch %d of %s is held by %s since %s; this recovery stands down",
		e.Current.Epoch, e.Current.Service, e.Current.Holder, e.Current.At.UTC().Format(time.RFC3339))
}

// Store keeps one record per service.
type Store interface {
	// Read returns the record of a service, ErrNone or ErrUnavailable.
	Read(ctx context.Context, service string) (Record, error)
	// Write moves the record forward: it succeeds where the store holds no record, an older epoch, or the same
	// epoch of the same holder (so repeating a write is safe, and the holder may update Active). Otherwise it
	// changes nothing and returns *HeldError. The decision and the write are one atomic step. It returns
	// ErrUnavailable when the store does not answer within the context's deadline, and another error for what is no
	// record at all. An empty Active never replaces one that is recorded for the same epoch: a repeated first write
	// that arrives late forgets nothing. At is kept for people and decides nothing, so clocks may differ.
	Write(ctx context.Context, r Record) error
}
