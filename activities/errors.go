package activities

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/understudy-dr/understudy/activities/chat"
	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/epoch"
	"github.com/understudy-dr/understudy/activities/fence"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/volumes"
)

// Types of the errors that reach workflows. Only the outermost error decides
// whether Temporal retries, so every activity that changes something ends with
// classify, and with nothing around it.
const (
	// ErrTypeSuperseded: a newer epoch acts on the service; nothing was done, nothing more must be.
	ErrTypeSuperseded = "Superseded"
	// ErrTypeLate: the effect's deadline has passed; nothing was done.
	ErrTypeLate = "Late"
	// ErrTypeRefused: the other side will never take this.
	ErrTypeRefused = "Refused"
	// ErrTypeUnreachable: the other side did not answer; a retry may succeed.
	ErrTypeUnreachable = "Unreachable"
	// ErrTypeFence: the fence failed, or is not confirmed.
	ErrTypeFence = "Fence"
	// ErrTypeRateLimited: the chat wants a pause.
	ErrTypeRateLimited = "RateLimited"
	// ErrTypeCapacity: this placement has no room, the next one may.
	ErrTypeCapacity = "Capacity"
	// ErrTypeQuota: the account's limit is reached; another region may do, and a person must know.
	ErrTypeQuota = "Quota"
	// ErrTypeCredentials: they are read again; nothing else is consumed.
	ErrTypeCredentials = "Credentials"
	// ErrTypeLost: the machine ended, or did not come in time.
	ErrTypeLost = "Lost"
	// ErrTypeWrong: the model or the data is not what it should be.
	ErrTypeWrong = "Wrong"
)

var (
	errAsleep = errors.New("this process was stopped for a while; the engine may have given the attempt to somebody else, nothing was done")
	errLate   = errors.New("the deadline of this step has passed; nothing was done")
	// errCallRefused means that a standby does not take the call that should make it serve.
	errCallRefused = errors.New("the standby refuses the call")
	// ErrSuperseded means that a newer recovery acts on the service.
	ErrSuperseded = errors.New("a newer recovery acts on this service; nothing was done")
)

// finalError is one that no retry mends.
func finalError(kind string, err error) error {
	return temporal.NewNonRetryableApplicationError(err.Error(), kind, err)
}

// classify turns an error of a capability into one that Temporal understands.
func classify(err error) error {
	if err == nil {
		return nil
	}
	final := func(kind string) error { return finalError(kind, err) }
	again := func(kind string, after time.Duration) error {
		return temporal.NewApplicationErrorWithOptions(err.Error(), kind, temporal.ApplicationErrorOptions{Cause: err, NextRetryDelay: after})
	}
	var held *epoch.HeldError
	var limited *chat.RateLimitError
	switch {
	case errors.As(err, &held), errors.Is(err, ErrSuperseded):
		return final(ErrTypeSuperseded)
	case errors.Is(err, errLate):
		return final(ErrTypeLate)
	case errors.As(err, &limited):
		return again(ErrTypeRateLimited, limited.After)
	case errors.Is(err, traffic.ErrRefused), errors.Is(err, traffic.ErrNoServer), errors.Is(err, chat.ErrRefused):
		return final(ErrTypeRefused)
	case errors.Is(err, compute.ErrCapacity):
		return final(ErrTypeCapacity)
	case errors.Is(err, compute.ErrQuota):
		return final(ErrTypeQuota)
	case errors.Is(err, compute.ErrCredentials):
		return final(ErrTypeCredentials) // the workflow repeats the same call, and tells people meanwhile
	case errors.Is(err, compute.ErrRefused), errors.Is(err, compute.ErrUsed), errors.Is(err, compute.ErrForeign),
		errors.Is(err, volumes.ErrRefused), errors.Is(err, replica.ErrExists), errors.Is(err, replica.ErrNone),
		errors.Is(err, errCallRefused):
		return final(ErrTypeRefused)
	case errors.Is(err, volumes.ErrWrong), errors.Is(err, replica.ErrDamaged):
		return final(ErrTypeWrong)
	case errors.Is(err, errMachineLost):
		return final(ErrTypeLost)
	case errors.Is(err, fence.ErrFailed), errors.Is(err, fence.ErrUnconfirmed):
		return final(ErrTypeFence)
	default:
		return again(ErrTypeUnreachable, 0)
	}
}
