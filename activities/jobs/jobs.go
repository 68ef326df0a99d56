// Package jobs keeps batch-transcription jobs in an object store and works them off.
//
// A job is a manifest of audio items and a ledger of objects beside it, laid out
// as docs/batches.md says, so that any runner in any language can go on where
// another one ended. Three conditional writes carry everything:
//
//   - a result is written only where none is, so the first one wins and an item
//     is done exactly if its result is there and sound;
//   - the head, which says how far the job is and who works on it, is moved only
//     by whoever read its last state, so an older runner loses and stops;
//   - the attempts of an item are written one by one and never overwritten, so an
//     item that brings servers down is found out, whoever runs it next.
//
// [Store] is the layout and its rules over any [Objects]; the implementation for
// S3 is s3store. [Runner] works off the items of a job, in a Temporal activity as
// well as without Temporal.
package jobs

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrMissing means that there is no such job, or no such object.
	ErrMissing = errors.New("not there")
	// ErrExists means that it is there already, and is kept: the first one wins.
	ErrExists = errors.New("exists already")
	// ErrRefused means that the condition of a write does not hold. Nothing was written.
	ErrRefused = errors.New("the condition of the write does not hold")
	// ErrHeld means that another runner has the job; it comes as *HeldError.
	ErrHeld = errors.New("the job is held by another runner")
	// ErrCancelled means that somebody cancelled or deleted the job.
	ErrCancelled = errors.New("the job is cancelled")
	// ErrFinished means that the job is finished and there is nothing left to run.
	ErrFinished = errors.New("the job is finished")
	// ErrUnfinished means that items without an outcome are left: run the job again.
	ErrUnfinished = errors.New("items are left to do")
	// ErrTorn means that an object is not what its key promises: cut off, or somebody else's. It is neither trusted
	// nor overwritten.
	ErrTorn = errors.New("an object is torn or foreign")
	// ErrUnsupported means that the store takes conditional writes and ignores the condition: two runners would both
	// believe to own the job. Nothing was written to any job.
	ErrUnsupported = errors.New("the store ignores conditions on writes")
	// ErrUnavailable means that the store did not answer or refused us. Whether a write happened is unknown;
	// repeating it is safe.
	ErrUnavailable = errors.New("batch store unavailable")
	// ErrInvalid means that a job, a manifest or a work order is not usable as it was given.
	ErrInvalid = errors.New("not usable")
	// ErrRevision means that the job began with another model revision and its policy is to finish with that one; it
	// comes as *RevisionError.
	ErrRevision = errors.New("the active runs another model revision than the job")
	// ErrAway means that the speech service could not be reached or had no capacity for longer than the runner's
	// patience. No item is to blame; what was done is kept.
	ErrAway = errors.New("the speech service is away")
	// ErrAllFail means that many items in a row failed in the same way and none succeeded: the request is wrong, such
	// as an unknown model, or the folder of the audio is not mounted. The items are not to blame.
	ErrAllFail = errors.New("every item fails in the same way")
	// ErrNoAudio means that the audio of an item cannot be had: missing, outside of what may be read, too large.
	ErrNoAudio = errors.New("the audio cannot be had")
)

// HeldError says who has the job.
type HeldError struct {
	Head Head
	// Silent is how long the holder has not moved the head, by the store's clock; 0 where it was not asked.
	Silent time.Duration
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("%v: %s is run by %s at epoch %d since %s; this runner stops and changes nothing more",
		ErrHeld, e.Head.Job, e.Head.Holder, e.Head.Epoch, e.Head.At.UTC().Format(time.RFC3339))
}

// Is makes errors.Is find ErrHeld.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// RevisionError names the two revisions.
type RevisionError struct{ Job, Began, Active string }

func (e *RevisionError) Error() string {
	return fmt.Sprintf("%v: %s began with %s, the active runs %s; bring the old revision back, or choose restart or mix-and-mark for on_model_change",
		ErrRevision, e.Job, e.Began, e.Active)
}

// Is makes errors.Is find ErrRevision.
func (e *RevisionError) Is(target error) bool { return target == ErrRevision }

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// TornError says which object is not what its key promises.
type TornError struct{ Key, Why string }

func (e *TornError) Error() string { return fmt.Sprintf("%v: %s: %s", ErrTorn, e.Key, e.Why) }

// Is makes errors.Is find ErrTorn.
func (e *TornError) Is(target error) bool { return target == ErrTorn }

func torn(key, format string, args ...any) error {
	return &TornError{Key: key, Why: fmt.Sprintf(format, args...)}
}
