package s3client

import (
	"errors"
	"net/http"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

// Status is the HTTP status with which the store answered, 0 where it did not
// answer at all. It is more reliable than error codes, in which stores differ.
func Status(err error) int {
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) && answer.Response != nil && answer.Response.Response != nil {
		return answer.Response.StatusCode
	}
	return 0
}

// Missing reports whether the store says that there is no such object. A missing
// bucket is something else, and so is a 404 that comes from a proxy on the way.
func Missing(err error) bool {
	var told smithy.APIError
	if Status(err) != http.StatusNotFound || !errors.As(err, &told) {
		return false
	}
	return told.ErrorCode() == "NoSuchKey" || (told.ErrorCode() == "NotFound" && isHead(err))
}

// Refused reports whether a conditional write was refused, because the
// condition does not hold or because another write was under way: the writer
// has to look again. Nothing was written.
func Refused(err error) bool {
	switch Status(err) {
	case http.StatusPreconditionFailed, http.StatusConflict:
		return true
	default:
		return false
	}
}

// Explain adds what an operator can do about errors of which the text does not tell.
func Explain(err error) error {
	if Status(err) == http.StatusForbidden {
		return hinted{err, "the credentials may not do this, or lack s3:ListBucket, without which S3 answers so for an object that is missing"}
	}
	return err
}

type hinted struct {
	error
	hint string
}

func (h hinted) Error() string { return h.error.Error() + " (" + h.hint + ")" }
func (h hinted) Unwrap() error { return h.error }

// isHead reports whether a HEAD request failed: its answer has no body that could tell a code.
func isHead(err error) bool {
	var answer *awshttp.ResponseError
	return errors.As(err, &answer) && answer.Response != nil && answer.Response.Request != nil &&
		answer.Response.Request.Method == http.MethodHead
}
