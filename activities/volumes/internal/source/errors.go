package source

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/aws/smithy-go"

	"github.com/understudy-dr/understudy/activities/s3access"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/secrets"
	"github.com/understudy-dr/understudy/activities/volumes"
)

// passing are the errors with a status of their own that go away by themselves, once credentials are read again.
var passing = []string{"ExpiredToken", "TokenRefreshRequired", "RequestTimeTooSkewed"}

// Explain classifies an error of the store: an answer that will not change is
// volumes.ErrRefused, everything else is volumes.ErrUnavailable.
func Explain(what string, err error) error {
	kind := volumes.ErrUnavailable
	var told smithy.APIError
	switch status := s3client.Status(err); {
	case errors.Is(err, secrets.ErrUnresolved), errors.Is(err, s3access.ErrCredentials):
		kind = volumes.ErrRefused
	case errors.As(err, &told) && slices.Contains(passing, told.ErrorCode()):
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status == http.StatusConflict:
	case status >= 400 && status < 500:
		kind = volumes.ErrRefused
	}
	return fmt.Errorf("%w: %s: %w", kind, what, s3client.Explain(err))
}
