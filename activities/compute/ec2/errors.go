package ec2

import (
	"errors"
	"fmt"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/probe"
)

// errMismatch means that the client token was used with other parameters. What
// it has made then, only a look tells.
var errMismatch = errors.New("client token used with other parameters")

// maxMessage bounds what is quoted of EC2's messages, in characters: an encoded
// authorization failure alone can have a thousand.
const maxMessage = 300

// The error codes of EC2 by what they mean for a placement; its documentation
// lists them. What stands in no list and is not a failure of the service means
// that the order is wrong or not permitted.
var classes = map[error][]string{
	// Another zone, type or region may have room.
	compute.ErrCapacity: {
		"InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientCapacity", "InsufficientReservedInstanceCapacity",
		"InsufficientVolumeCapacity", "InsufficientAddressCapacity", "InsufficientFreeAddressesInSubnet", "UnfulfillableCapacity",
		"Unsupported", "VolumeTypeNotAvailableInZone", "MaxSpotInstanceCountExceeded",
		"ReservationCapacityExceeded", "InvalidCapacityReservationState", "InvalidCapacityReservationId.NotFound",
	},
	compute.ErrQuota: {
		"VcpuLimitExceeded", "InstanceLimitExceeded", "MaxFleetCountExceeded", "PendingVerification",
		"VolumeLimitExceeded", "MaxIOPSLimitExceeded", "VolumeIOPSLimit", "NetworkInterfaceLimitExceeded",
	},
	compute.ErrCredentials: {
		"RequestExpired", "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "InvalidAccessKeyId", "SignatureDoesNotMatch",
		"IncompleteSignature", "MissingAuthenticationToken", "UnrecognizedClientException",
	},
	compute.ErrUsed: {"IdempotentInstanceTerminated"},
	compute.ErrNone: {"InvalidInstanceID.NotFound"},
	errMismatch:     {"IdempotentParameterMismatch"},
	// Throttling, failures of the service, and what gives way by itself: the same call again.
	nil: {
		"RequestLimitExceeded", "Throttling", "ThrottlingException", "RequestThrottled", "EC2ThrottledException", "BandwidthLimitExceeded",
		"InternalError", "InternalFailure", "ServerInternal", "ServiceUnavailable", "Unavailable", "ConcurrentTagAccess",
	},
}

var classByCode = func() map[string]error {
	byCode := map[string]error{}
	for class, codes := range classes {
		for _, code := range codes {
			byCode[code] = class
		}
	}
	return byCode
}()

// classOf is the class of an error; nil for one that passes, and for answers
// that did not come.
func classOf(err error) error {
	for _, class := range []error{compute.ErrCredentials, compute.ErrRefused} {
		if errors.Is(err, class) {
			return class
		}
	}
	var answer smithy.APIError
	if !errors.As(err, &answer) {
		return nil
	}
	code := answer.ErrorCode()
	if class, known := classByCode[code]; known {
		return class
	}
	switch {
	case code == "AuthFailure" && strings.Contains(answer.ErrorMessage(), "credentials"):
		return compute.ErrCredentials // it also stands for what the account may not use
	case status(err) >= 500:
		return nil
	default:
		return compute.ErrRefused
	}
}

// codeOf is EC2's error code, or empty.
func codeOf(err error) string {
	var answer smithy.APIError
	if errors.As(err, &answer) {
		return answer.ErrorCode()
	}
	return ""
}

// told is an error as an operator can read it: code, message, what to do, and
// the request id that AWS asks for.
func told(err error) error {
	var answer smithy.APIError
	if !errors.As(err, &answer) {
		return err
	}
	text := answer.ErrorCode() + ": " + probe.Printable(answer.ErrorMessage(), maxMessage)
	if hint := hints[answer.ErrorCode()]; hint != "" {
		text += " (" + hint + ")"
	}
	var response *awshttp.ResponseError
	if errors.As(err, &response) && response.RequestID != "" {
		text += " [request " + response.RequestID + "]"
	}
	return tellable{text, err}
}

// hints say what an operator can do about errors of which the text does not tell.
var hints = map[string]string{
	"UnauthorizedOperation":        "deploy/aws has the policy that Understudy needs; aws sts decode-authorization-message reads an encoded message",
	"RequestExpired":               "the credentials have expired, or this machine's clock is off",
	"OptInRequired":                "the region may not be enabled for this account",
	"VcpuLimitExceeded":            "ask AWS for a higher quota",
	"InstanceLimitExceeded":        "ask AWS for a higher quota",
	"OperationNotPermitted":        "the instance may have termination or stop protection",
	"InvalidAMIID.NotFound":        "images belong to one region: understudy image copy brings them to another",
	"InsufficientInstanceCapacity": "EC2 has no such machine free there now",
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

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{compute.ErrRefused}, args...)...)
}
