package route53

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/smithy-go"

	"github.com/understudy-dr/understudy/activities/awsclient"
	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/traffic"
)

// unknownCode is what the SDK says of an answer that is none of Route 53's, such as that of a proxy.
const unknownCode = "UnknownError"

// forgottenCode is what Route 53 says of a change that it does not know any more.
const forgottenCode = "NoSuchChange"

// errStranger means that an answer lacks what each of Route 53's has.
var errStranger = errors.New("the answer is not from Route 53; see what stands at its address")

// What is quoted of Route 53's answers is bounded, in characters.
const (
	maxCode    = 80
	maxMessage = 400
)

// errOvertaken means that the records were not any more what had been read.
// Nothing was changed, and another try reads them again: whether it is still
// wanted is for the caller to ask first.
var errOvertaken = errors.New("somebody else has changed the records meanwhile; nothing was done, try again")

// Error codes by what they mean; those that the SDK knows as throttling, such
// as Throttling and PriorRequestNotComplete, it knows best.
var (
	credentialCodes = []string{
		"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSignatureException",
		"IncompleteSignature", "MissingAuthenticationToken", "MissingAuthenticationTokenException", "RequestExpired", "UnrecognizedClientException",
	}
	// overtakenTexts stand in the messages of InvalidChangeBatch, which has no finer codes.
	overtakenTexts = []string{"but it was not found", "but the values provided do not match the current values", "but it already exists"}
)

// hints say what an operator can do about errors of which the text does not tell.
var hints = map[string]string{
	"AccessDenied":            "deploy/aws has the policy that Understudy needs",
	"NoSuchHostedZone":        "traffic.zone is the zone's id, and the zone must belong to the account of the credentials",
	"ExpiredToken":            "renew the credentials",
	"RequestExpired":          "the credentials have expired, or this machine's clock is off",
	"SignatureDoesNotMatch":   "the secret key is another one, this machine's clock is off, or traffic.region is missing: China and GovCloud have their own",
	"Throttling":              "Route 53 allows five requests a second to a whole account",
	"PriorRequestNotComplete": "an earlier change of the zone is still being taken in",
}

// throttled reports whether a call was certainly not carried out and may be
// made again.
func throttled(err error) bool {
	_, ok := retry.DefaultThrottleErrorCodes[codeOf(err)]
	return ok
}

// passes reports whether a call that only reads may be made again.
func passes(err error) bool { return throttled(err) || status(err) >= 500 }

// foreign reports whether AWS does not accept the credentials, or there are none.
func foreign(err error) bool {
	return errors.Is(err, awsclient.ErrCredentials) || slices.Contains(credentialCodes, codeOf(err))
}

// failed makes the error of a call that is given up. Whoever calls again finds
// credentials renewed, throttling over and connections mended, but neither
// another policy nor another zone.
func failed(ctx context.Context, what string, err error) error {
	code := codeOf(err)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %s: %w: %w", traffic.ErrUnreachable, what, ctx.Err(), told(err))
	case errors.Is(err, awsclient.ErrCredentials):
		return fmt.Errorf("%w: %s: %w", traffic.ErrUnreachable, what, err)
	case foreign(err):
		return fmt.Errorf("%w: %s: AWS does not accept the credentials: %w", traffic.ErrUnreachable, what, told(err))
	case overtaken(err):
		return fmt.Errorf("%s: %w", what, errOvertaken)
	case code == "" || code == unknownCode || code == forgottenCode || passes(err):
		return fmt.Errorf("%w: %s: %w", traffic.ErrUnreachable, what, told(err))
	default:
		return fmt.Errorf("%w: %s: %w", traffic.ErrRefused, what, told(err))
	}
}

// overtaken reports whether a batch failed because a record was not as it had been read.
func overtaken(err error) bool {
	var invalid *types.InvalidChangeBatch
	return errors.As(err, &invalid) && slices.ContainsFunc(overtakenTexts, func(text string) bool { return strings.Contains(messageOf(err), text) })
}

// codeOf is Route 53's error code, or empty where there was no answer.
func codeOf(err error) string {
	var answer smithy.APIError
	if errors.As(err, &answer) {
		return answer.ErrorCode()
	}
	return ""
}

// messageOf is Route 53's own text. Of a bad batch it may come as a list.
func messageOf(err error) string {
	var invalid *types.InvalidChangeBatch
	if errors.As(err, &invalid) && len(invalid.Messages) > 0 {
		return strings.Join(invalid.Messages, "; ")
	}
	if errors.As(err, &invalid) {
		return aws.ToString(invalid.Message)
	}
	var answer smithy.APIError
	if errors.As(err, &answer) {
		return answer.ErrorMessage()
	}
	return ""
}

// told is an error as an operator can read it: code, message, what to do, and
// the request id that AWS asks for.
func told(err error) error {
	code := codeOf(err)
	if code == "" {
		return err
	}
	text := probe.Printable(code, maxCode) + ": " + probe.Printable(messageOf(err), maxMessage)
	if hint := hints[code]; hint != "" {
		text += " (" + hint + ")"
	}
	var response *awshttp.ResponseError
	if errors.As(err, &response) && response.RequestID != "" {
		text += " [request " + response.RequestID + "]"
	}
	return tellable{text, err}
}

// tellable replaces the text of an error and keeps what it is.
type tellable struct {
	text  string
	cause error
}

func (t tellable) Error() string { return t.text }
func (t tellable) Unwrap() error { return t.cause }

// status is the HTTP status of an answer, 0 where there was none.
func status(err error) int {
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}
