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
	"strings"
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

// Patience is how long the unfinished recovery of another engine is waited for:
// until it has written down where the service runs, or is taken for dead. Most
// recoveries take minutes, their confirm window included.
const Patience = 10 * time.Minute

// Engine is the part of the holder's name behind the recovery; empty where it names none.
func (r Record) Engine() string {
	i := strings.LastIndex(r.Holder, atEngine)
	if i < 0 {
		return ""
	}
	return r.Holder[i+len(atEngine):]
}

// HeldBy names a holder: a recovery, and the engine that runs it.
func HeldBy(recovery, engine string) string { return recovery + atEngine + engine }

const atEngine = " @ "

// HeldError means that somebody else holds this epoch or a later one, or is
// still at work under an earlier one: the caller must not act.
type HeldError struct{ Current Record }

func (e *HeldError) Error() string {
	unfinished := ""
	if e.Current.Active == "" {
		unfinished = ", and its recovery has not ended"
	}
	return fmt.Sprintf("epoch %d of %s is held by %s since %s%s; this recovery stands down",
		e.Current.Epoch, e.Current.Service, e.Current.Holder, e.Current.At.UTC().Format(time.RFC3339), unfinished)
}

// Store keeps one record per service.
type Store interface {
	// Read returns the record of a service, ErrNone or ErrUnavailable.
	Read(ctx context.Context, service string) (Record, error)
	// Write moves the record forward: it succeeds where the store holds no record, an older epoch, or the same
	// epoch of the same holder (so repeating a write is safe, and the holder may update Active). An older epoch of
	// another engine that has no Active yet and is younger than Patience is held as well: a recovery that runs is
	// not overtaken. Otherwise it changes nothing and returns *HeldError. The decision and the write are one atomic
	// step. It returns ErrUnavailable when the store does not answer within the context's deadline, and another
	// error for what is no record at all. An empty Active never replaces one that is recorded for the same epoch: a
	// repeated first write that arrives late forgets nothing. At decides nothing but that age, so clocks may differ
	// by minutes; a record that is from the future by more than Patience is not waited for.
	Write(ctx context.Context, r Record) error
}
