package ec2

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// version of the API, in requests and in the name space of answers.
	version = "2016-11-15"
	// maxRequest bounds a request's body, in bytes; user data of 16 KiB is a fraction of it.
	maxRequest = 1 << 20
)

// action is one operation of the API.
type action struct {
	do func(*request) (any, *refusal)
	// params are the parameters that are played, without the numbers of lists. Others are refused: a fake that
	// ignored them would show success for what it does not do.
	params string
}

func (s *Server) actions() map[string]action {
	return map[string]action{
		"RunInstances": {s.runInstances, `ImageId InstanceType MinCount MaxCount ClientToken DryRun UserData IamInstanceProfile.Name
			SubnetId SecurityGroupId Placement.AvailabilityZone InstanceInitiatedShutdownBehavior
			MetadataOptions.HttpTokens MetadataOptions.HttpEndpoint MetadataOptions.HttpPutResponseHopLimit
			TagSpecification.ResourceType TagSpecification.Tag.Key TagSpecification.Tag.Value
			NetworkInterface.DeviceIndex NetworkInterface.SubnetId NetworkInterface.SecurityGroupId
			NetworkInterface.AssociatePublicIpAddress NetworkInterface.DeleteOnTermination
			BlockDeviceMapping.DeviceName BlockDeviceMapping.Ebs.Encrypted BlockDeviceMapping.Ebs.DeleteOnTermination
			BlockDeviceMapping.Ebs.VolumeSize BlockDeviceMapping.Ebs.VolumeType BlockDeviceMapping.Ebs.VolumeInitializationRate
			CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId`},
		"StartInstances":                {s.startInstances, "InstanceId DryRun"},
		"StopInstances":                 {s.stopInstances, "InstanceId DryRun"},
		"TerminateInstances":            {s.terminateInstances, "InstanceId DryRun"},
		"DescribeInstances":             {s.describeInstances, "InstanceId Filter.Name Filter.Value MaxResults NextToken DryRun"},
		"DescribeImages":                {s.describeImages, "ImageId Owner Filter.Name Filter.Value DryRun"},
		"DescribeInstanceTypeOfferings": {s.describeOfferings, "LocationType Filter.Name Filter.Value DryRun"},
		"DescribeCapacityReservations":  {s.describeReservations, "CapacityReservationId DryRun"},
		"CopyImage": {s.copyImage, `Name SourceImageId SourceRegion ClientToken Description Encrypted DryRun
			TagSpecification.ResourceType TagSpecification.Tag.Key TagSpecification.Tag.Value`},
		"CreateTags":       {s.createTags, "ResourceId Tag.Key Tag.Value DryRun"},
		"GetConsoleOutput": {s.consoleOutput, "InstanceId Latest DryRun"},
	}
}

// request is one call that is carried out.
type request struct {
	s    *Server
	r    *region
	form url.Values
	now  time.Time
	// noRoom is why a launch finds no room, where a fault says so.
	noRoom *refusal
}

// refusal is why a call did not succeed.
type refusal struct {
	code, message string
	status        int
}

func refuse(code, format string, args ...any) *refusal {
	return &refusal{code: code, message: fmt.Sprintf(format, args...)}
}

// ServeHTTP answers the Query API at every path.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err != nil {
		return
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		writeError(w, refuse("MalformedQueryString", "the query string contains a syntax error"))
		return
	}
	signed := parseAuthorization(r.Header.Get("Authorization"))
	call := Call{Action: form.Get("Action"), Region: signed.region, Form: form, Key: signed.key}
	call.Zone, call.Type = s.place(call)
	fault, done := s.admit(call)
	if !fault.pass(s, r) {
		done(dropped)
		return
	}
	scarce := call.Action == "RunInstances" && !fault.Arrives && scarcity(fault.Code)
	if !fault.Arrives && fault.bad() && !scarce {
		s.fail(w, r, fault, done)
		return
	}
	var room *refusal
	if scarce {
		room = fault.refusal()
	}
	result, why := s.answer(r, body, signed, form, room)
	if fault.Arrives && fault.bad() {
		s.fail(w, r, fault, done)
		return
	}
	if why != nil {
		done(why.code)
		writeError(w, why)
		return
	}
	done("")
	write(w, call.Action, result)
}

// bad reports whether the fault has an answer, or none, of its own.
func (f Fault) bad() bool { return f.Code != "" || f.Hang || f.Drop }

func (s *Server) fail(w http.ResponseWriter, r *http.Request, f Fault, done func(string)) {
	if f.Code == "" {
		done(dropped)
		f.mute(s, r)
	}
	done(f.Code)
	writeError(w, f.refusal())
}

func (f Fault) refusal() *refusal {
	if f.Message == "" {
		f.Message = "as the test wants it"
	}
	return &refusal{code: f.Code, message: f.Message, status: f.Status}
}

// scarcity reports whether a code tells of missing room: a launch is refused so
// only after its client token was taken note of.
func scarcity(code string) bool {
	return strings.HasPrefix(code, "Insufficient") || code == "Unsupported" || code == "ReservationCapacityExceeded" ||
		strings.HasSuffix(code, "LimitExceeded") && code != "RequestLimitExceeded"
}

// answer carries a call out; room is why a launch finds none, where that is so.
func (s *Server) answer(r *http.Request, body []byte, signed authorization, form url.Values, room *refusal) (any, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.options.Now()
	if why := s.authenticate(r, body, signed, now); why != nil {
		return nil, why
	}
	known, ok := s.actions()[form.Get("Action")]
	if !ok || form.Get("Version") != version {
		return nil, refuse("InvalidAction", "the action %s of version %s is not valid for this web service", form.Get("Action"), form.Get("Version"))
	}
	where := s.regions[signed.region]
	if where == nil {
		return nil, refuse("OptInRequired", "the region %s is not enabled for this account", signed.region)
	}
	params := append(strings.Fields(known.params), "Action", "Version")
	for name := range form {
		if plain := numbers.ReplaceAllString(name, ""); !slices.Contains(params, plain) {
			return nil, refuse("UnknownParameter", "the parameter %s is not recognized", name)
		}
	}
	where.advance(now)
	return known.do(&request{s: s, r: where, form: form, now: now, noRoom: room})
}

var numbers = regexp.MustCompile(`\.[0-9]+`)

// place is where a call wants something to happen, as far as its parameters tell.
func (s *Server) place(c Call) (zone, machineType string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.regions[c.Region]
	if r == nil {
		return "", ""
	}
	if i := r.find(c.Form.Get("InstanceId.1")); i != nil {
		return i.Zone, i.Type
	}
	if zone = c.Form.Get("Placement.AvailabilityZone"); zone == "" {
		zone = r.Subnets[subnetOf(c.Form)]
	}
	return zone, c.Form.Get("InstanceType")
}

func subnetOf(form url.Values) string {
	if subnet := form.Get("SubnetId"); subnet != "" {
		return subnet
	}
	return form.Get("NetworkInterface.1.SubnetId")
}

// list returns the values of Name.1, Name.2 and so on.
func (q *request) list(name string) []string {
	var values []string
	for i := 1; ; i++ {
		value, ok := q.form[name+"."+strconv.Itoa(i)]
		if !ok {
			return values
		}
		values = append(values, value[0])
	}
}

// each returns the prefixes Name.1., Name.2. and so on that are there.
func (q *request) each(name string) []string {
	var prefixes []string
	for i := 1; ; i++ {
		prefix := name + "." + strconv.Itoa(i) + "."
		found := false
		for key := range q.form {
			found = found || strings.HasPrefix(key, prefix)
		}
		if !found {
			return prefixes
		}
		prefixes = append(prefixes, prefix)
	}
}

// tags reads the tags below a prefix.
func (q *request) tags(prefix string) map[string]string {
	tags := map[string]string{}
	for _, tag := range q.each(prefix + "Tag") {
		tags[q.form.Get(tag+"Key")] = q.form.Get(tag + "Value")
	}
	return tags
}

// dryRun is the answer to a call that would have succeeded.
func (q *request) dryRun() *refusal {
	if q.form.Get("DryRun") != "true" {
		return nil
	}
	return refuse("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
}

// statuses of errors; all others are 400. Server errors are 5xx, also those for want of capacity.
var statuses = map[string]int{
	"AuthFailure": 401, "SignatureDoesNotMatch": 403, "UnauthorizedOperation": 403, "DryRunOperation": 412,
	"InsufficientInstanceCapacity": 500, "InsufficientHostCapacity": 500, "InsufficientAddressCapacity": 500, "InsufficientVolumeCapacity": 500,
	"InternalError": 500, "InternalFailure": 500, "ServerInternal": 500,
	"RequestLimitExceeded": 503, "ServiceUnavailable": 503, "Unavailable": 503,
}

func writeError(w http.ResponseWriter, why *refusal) {
	type told struct {
		Code    string
		Message string
	}
	status := why.status
	if status == 0 {
		status = statuses[why.code]
	}
	if status == 0 {
		status = http.StatusBadRequest
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName   xml.Name `xml:"Response"`
		Errors    []told   `xml:"Errors>Error"`
		RequestID string
	}{Errors: []told{{why.code, why.message}}, RequestID: requestID})
}

// requestID stands in every answer; nobody compares them.
const requestID = "59dbff89-35bd-4eac-99ed-be587EXAMPLE"

func write(w http.ResponseWriter, action string, result any) {
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	_, _ = io.WriteString(w, xml.Header)
	start := xml.StartElement{
		Name: xml.Name{Local: action + "Response"},
		Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: "http://ec2.amazonaws.com/doc/" + version + "/"}},
	}
	_ = xml.NewEncoder(w).EncodeElement(result, start)
}
