package activities

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/understudy-dr/understudy/activities/chat"
	"github.com/understudy-dr/understudy/activities/epoch"
	"github.com/understudy-dr/understudy/activities/fence"
	"github.com/understudy-dr/understudy/activities/traffic"
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
)

var (
	errLate = errors.New("the deadline of this step has passed; nothing was done")
	// ErrSuperseded means that a newer recovery acts on the service.
	ErrSuperseded = errors.New("a newer recovery acts on this service; nothing was done")
)

// classify turns an error of a capability into one that Temporal understands.
func classify(err error) error {
	if err == nil {
		return nil
	}
	final := func(kind string) error { return temporal.NewNonRetryableApplicationError(err.Error(), kind, err) }
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
	case errors.Is(err, fence.ErrFailed), errors.Is(err, fence.ErrUnconfirmed):
		return final(ErrTypeFence)
	default:
		return again(ErrTypeUnreachable, 0)
	}
}
