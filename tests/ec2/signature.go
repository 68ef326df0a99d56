package ec2

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// skew is how far the date of a request may be off.
const skew = 15 * time.Minute

// authorization is what the header of that name says.
type authorization struct {
	key, region, service string
	// scope is date/region/service/aws4_request.
	scope, signature string
	headers          []string
}

// parseAuthorization reads "AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=a;b, Signature=...".
func parseAuthorization(header string) authorization {
	var a authorization
	rest, _ := strings.CutPrefix(header, "AWS4-HMAC-SHA256 ")
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "Credential":
			if scope := strings.Split(value, "/"); len(scope) == 5 {
				a.key, a.region, a.service = scope[0], scope[2], scope[3]
				a.scope = strings.Join(scope[1:], "/")
			}
		case "SignedHeaders":
			a.headers = strings.Split(value, ";")
		case "Signature":
			a.signature = value
		}
	}
	return a
}

// authenticate checks the key and the signature of a request.
func (s *Server) authenticate(r *http.Request, body []byte, a authorization, now time.Time) *refusal {
	if a.key == "" {
		return refuse("MissingAuthenticationToken", "Request is missing Authentication Token")
	}
	k, known := s.keys[a.key]
	if !known {
		return refuse("AuthFailure", "AWS was not able to validate the provided access credentials")
	}
	date, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || a.service != "ec2" {
		return refuse("IncompleteSignature", "the request signature does not conform to AWS standards")
	}
	if k.expired || time.Since(date).Abs() > skew {
		return refuse("RequestExpired", "Request has expired.")
	}
	if sign(k.secret, a, canonical(r, body, a), r.Header.Get("X-Amz-Date")) != a.signature {
		return refuse("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
	}
	return nil
}

// canonical is a request in the form that is signed, as AWS's guide to signature
// version 4 describes it; EC2's requests are posted to the root, without a query.
func canonical(r *http.Request, body []byte, a authorization) string {
	lines := []string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery}
	for _, name := range a.headers {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		}
		lines = append(lines, name+":"+strings.Join(strings.Fields(value), " "))
	}
	return strings.Join(append(lines, "", strings.Join(a.headers, ";"), digest(body)), "\n")
}

// sign is the signature of a canonical request.
func sign(secret string, a authorization, request, date string) string {
	mac := func(key []byte, text string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	key := []byte("AWS4" + secret)
	for _, part := range strings.Split(a.scope, "/") {
		key = mac(key, part)
	}
	return hex.EncodeToString(mac(key, strings.Join([]string{"AWS4-HMAC-SHA256", date, a.scope, digest([]byte(request))}, "\n")))
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
