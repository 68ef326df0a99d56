package route53fake

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

const (
	// version of the API, in paths and in the name space of answers.
	version = "2013-04-01"
	// maxRequest bounds a request's body, in bytes.
	maxRequest = 1 << 20
	// requestID stands in every answer; nobody compares them.
	requestID = "b25f48e8-84fd-11e6-80d9-574e0EXAMPLE"
)

// request is one call that is carried out.
type request struct {
	action       string
	zone, change string
	query        url.Values
	body         []byte
}

// refusal is why a call did not succeed.
type refusal struct {
	status        int
	code, message string
}

func refuse(status int, code, format string, args ...any) *refusal {
	return &refusal{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

func noZone(id string) *refusal {
	return refuse(404, "NoSuchHostedZone", "No hosted zone found with ID: %s", id)
}

// parse finds out what a request is for; the action is empty where that is not played.
func parse(r *http.Request) *request {
	q := &request{query: r.URL.Query()}
	rest, _ := strings.CutPrefix(r.URL.Path, "/"+version+"/")
	parts := strings.Split(strings.TrimSuffix(rest, "/"), "/")
	switch {
	case len(parts) == 3 && parts[0] == "hostedzone" && parts[2] == "rrset" && r.Method == http.MethodPost:
		q.action, q.zone = "ChangeResourceRecordSets", parts[1]
	case len(parts) == 3 && parts[0] == "hostedzone" && parts[2] == "rrset" && r.Method == http.MethodGet:
		q.action, q.zone = "ListResourceRecordSets", parts[1]
	case len(parts) == 2 && parts[0] == "change" && r.Method == http.MethodGet:
		q.action, q.change = "GetChange", parts[1]
	}
	return q
}

// ServeHTTP answers the REST API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err != nil {
		return
	}
	q := parse(r)
	q.body = body
	key, scope := credential(r.Header.Get("Authorization"))
	fault, done := s.admit(Call{Action: q.action, Zone: q.zone, Change: q.change, Body: string(body), Key: key})
	if !fault.pass(s, r) {
		done(dropped)
		return
	}
	if !fault.Arrives && fault.bad() {
		s.fail(w, r, fault, done)
		return
	}
	result, why := s.answer(q, key, scope)
	switch {
	case fault.Arrives && fault.bad():
		s.fail(w, r, fault, done)
	case why != nil:
		done(why.code)
		writeError(w, why)
	default:
		done("")
		write(w, q.action, result)
	}
}

// answer carries a call out.
func (s *Server) answer(q *request, key, scope string) (any, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if why := s.authenticate(key, scope); why != nil {
		return nil, why
	}
	switch q.action {
	case "ChangeResourceRecordSets":
		return s.changeRecords(q)
	case "ListResourceRecordSets":
		return s.listRecords(q)
	case "GetChange":
		return s.getChange(q)
	default:
		return nil, refuse(404, "UnknownOperationException", "this fake does not play the operation")
	}
}

// credential reads key and scope of "AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, ...".
func credential(header string) (key, scope string) {
	_, rest, _ := strings.Cut(header, "Credential=")
	rest, _, _ = strings.Cut(rest, ",")
	parts := strings.Split(rest, "/")
	if len(parts) != 5 {
		return "", ""
	}
	return parts[0], parts[2] + "/" + parts[3]
}

func (s *Server) authenticate(key, scope string) *refusal {
	valid, known := s.keys[key]
	switch {
	case key == "":
		return refuse(403, "MissingAuthenticationToken", "Missing Authentication Token")
	case !known:
		return refuse(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
	case !valid:
		return refuse(403, "ExpiredToken", "The security token included in the request is expired")
	case scope != s.options.Region+"/route53":
		return refuse(403, "SignatureDoesNotMatch", "Credential should be scoped to a valid region, not '%s'.", scope)
	default:
		return nil
	}
}

func writeError(w http.ResponseWriter, why *refusal) {
	type told struct{ Type, Code, Message string }
	kind := "Sender"
	if why.status >= 500 {
		kind = "Receiver"
	}
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("X-Amzn-Requestid", requestID)
	w.WriteHeader(why.status)
	_, _ = io.WriteString(w, xml.Header)
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName   xml.Name `xml:"https://route53.amazonaws.com/doc/2013-04-01/ ErrorResponse"`
		Error     told
		RequestId string
	}{Error: told{kind, why.code, why.message}, RequestId: requestID})
}

func write(w http.ResponseWriter, action string, result any) {
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("X-Amzn-Requestid", requestID)
	_, _ = io.WriteString(w, xml.Header)
	start := xml.StartElement{
		Name: xml.Name{Local: action + "Response"},
		Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: "https://route53.amazonaws.com/doc/" + version + "/"}},
	}
	_ = xml.NewEncoder(w).EncodeElement(result, start)
}
