package ec2

import (
	"encoding/base64"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The bounds of a page, in instances.
const minPage, maxPage = 5, 1000

var instanceID = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)

type (
	stateXML struct {
		Code int    `xml:"code"`
		Name string `xml:"name"`
	}
	tagXML struct {
		Key   string `xml:"key"`
		Value string `xml:"value"`
	}
	reasonXML struct {
		Code    string `xml:"code"`
		Message string `xml:"message"`
	}
	groupXML struct {
		ID string `xml:"groupId"`
	}
	profileXML struct {
		ARN string `xml:"arn"`
	}
	instanceXML struct {
		ID       string      `xml:"instanceId"`
		Image    string      `xml:"imageId"`
		State    stateXML    `xml:"instanceState"`
		Private  string      `xml:"privateIpAddress,omitempty"`
		Public   string      `xml:"ipAddress,omitempty"`
		Text     string      `xml:"reason"`
		Type     string      `xml:"instanceType"`
		Launched string      `xml:"launchTime"`
		Zone     string      `xml:"placement>availabilityZone"`
		Subnet   string      `xml:"subnetId,omitempty"`
		Token    string      `xml:"clientToken"`
		Reason   *reasonXML  `xml:"stateReason"`
		Groups   []groupXML  `xml:"groupSet>item"`
		Profile  *profileXML `xml:"iamInstanceProfile"`
		Tags     []tagXML    `xml:"tagSet>item"`
		Tokens   string      `xml:"metadataOptions>httpTokens"`
	}
	reservationXML struct {
		ID        string        `xml:"reservationId"`
		Owner     string        `xml:"ownerId"`
		Instances []instanceXML `xml:"instancesSet>item"`
	}
)

// describe is an instance as EC2 tells it.
func describe(i *instance) instanceXML {
	x := instanceXML{
		ID: i.ID, Image: i.Image, State: state(i.State), Private: i.Address, Type: i.Type, Launched: timeText(i.Launched), Zone: i.Zone,
		Subnet: i.Subnet, Token: i.Token, Tags: tagsXML(i.Tags), Tokens: i.Tokens, Text: i.Message,
	}
	for _, group := range i.Groups {
		x.Groups = append(x.Groups, groupXML{group})
	}
	if i.Profile != "" {
		x.Profile = &profileXML{"arn:aws:iam::" + Account + ":instance-profile/" + i.Profile}
	}
	if i.Reason != "" {
		x.Reason = &reasonXML{i.Reason, i.Message}
	}
	return x
}

func runResult(i *instance) any {
	return struct {
		RequestID string `xml:"requestId"`
		reservationXML
	}{requestID, reservationXML{ID: "r-" + strings.TrimPrefix(i.ID, "i-"), Owner: Account, Instances: []instanceXML{describe(i)}}}
}

func (s *Server) describeInstances(q *request) (any, *refusal) {
	if why := q.allow(Access{Action: "ec2:DescribeInstances", Resource: "*"}); why != nil {
		return nil, why
	}
	if why := q.dryRun(); why != nil {
		return nil, why
	}
	ids := q.list("InstanceId")
	if len(ids) > 0 && q.form.Get("MaxResults") != "" {
		return nil, refuse("InvalidParameterCombination", "The parameter instancesSet cannot be used with the parameter maxResults")
	}
	for _, id := range ids {
		if _, why := q.seen(id); why != nil {
			return nil, why
		}
	}
	var found []*instance
	for _, i := range q.r.instances {
		if q.now.Before(i.visible) || len(ids) > 0 && !slices.Contains(ids, i.ID) {
			continue
		}
		fits, why := q.filter(i.field)
		if why != nil {
			return nil, why
		}
		if fits {
			found = append(found, i)
		}
	}
	page, next, why := q.page(found)
	if why != nil {
		return nil, why
	}
	out := struct {
		RequestID    string           `xml:"requestId"`
		Reservations []reservationXML `xml:"reservationSet>item"`
		Next         string           `xml:"nextToken,omitempty"`
	}{RequestID: requestID, Next: next}
	for _, i := range page {
		out.Reservations = append(out.Reservations, reservationXML{ID: "r-" + strings.TrimPrefix(i.ID, "i-"), Owner: Account, Instances: []instanceXML{describe(i)}})
	}
	return out, nil
}

// field is what a filter looks at; ok is false for one that is not played.
func (i *instance) field(name string) (values []string, ok bool) {
	if key, is := strings.CutPrefix(name, "tag:"); is {
		if value, has := i.Tags[key]; has {
			return []string{value}, true
		}
		return nil, true
	}
	fields := map[string]string{
		"client-token": i.Token, "instance-state-name": i.State, "availability-zone": i.Zone, "instance-type": i.Type,
		"image-id": i.Image, "subnet-id": i.Subnet, "instance-id": i.ID, "private-ip-address": i.Address,
	}
	value, ok := fields[name]
	return []string{value}, ok
}

// filter reports whether something passes all filters of a request. The values
// of one filter are alternatives, * and ? stand for any characters.
func (q *request) filter(field func(string) ([]string, bool)) (bool, *refusal) {
	all := true
	for _, f := range q.each("Filter") {
		name := q.form.Get(f + "Name")
		values, known := field(name)
		if !known {
			return false, refuse("InvalidParameterValue", "The filter '%s' is invalid", name)
		}
		all = all && slices.ContainsFunc(q.list(f+"Value"), func(pattern string) bool {
			return slices.ContainsFunc(values, func(value string) bool {
				fits, err := path.Match(strings.NewReplacer("[", `\[`, "/", "\x00").Replace(pattern), strings.ReplaceAll(value, "/", "\x00"))
				return err == nil && fits
			})
		})
	}
	return all, nil
}

// page cuts a page out of what was found.
func (q *request) page(found []*instance) ([]*instance, string, *refusal) {
	from := 0
	if token := q.form.Get("NextToken"); token != "" {
		var err error
		text, _ := base64.StdEncoding.DecodeString(token)
		if from, err = strconv.Atoi(string(text)); err != nil || from < 0 || from > len(found) {
			return nil, "", refuse("InvalidPaginationToken", "The pagination token is not valid or is expired")
		}
	}
	size := maxPage
	if text := q.form.Get("MaxResults"); text != "" {
		var err error
		if size, err = strconv.Atoi(text); err != nil || size < minPage || size > maxPage {
			return nil, "", refuse("InvalidParameterValue", "Value ( %s ) for parameter maxResults is invalid. Expecting a value between %d and %d.", text, minPage, maxPage)
		}
	}
	end := min(from+size, len(found))
	if end == len(found) {
		return found[from:], "", nil
	}
	return found[from:end], base64.StdEncoding.EncodeToString([]byte(strconv.Itoa(end))), nil
}

func (s *Server) consoleOutput(q *request) (any, *refusal) {
	i, why := q.seen(q.form.Get("InstanceId"))
	if why != nil {
		return nil, why
	}
	if why := q.allow(Access{Action: "ec2:GetConsoleOutput", Resource: q.arn("instance", i.ID), Keys: resourceTags(i.Tags)}); why != nil {
		return nil, why
	}
	if q.form.Get("Latest") == "true" && strings.HasPrefix(i.Type, "t2.") {
		return nil, refuse("UnsupportedOperation", "This instance type does not support retrieving the latest console logs.")
	}
	return struct {
		RequestID string `xml:"requestId"`
		ID        string `xml:"instanceId"`
		Output    string `xml:"output"`
		Time      string `xml:"timestamp"`
	}{requestID, i.ID, base64.StdEncoding.EncodeToString([]byte(i.body.console())), timeText(q.now)}, nil
}

func state(name string) stateXML { return stateXML{Code: stateCodes[name], Name: name} }

func tagsXML(tags map[string]string) []tagXML {
	var all []tagXML
	for name, value := range tags {
		all = append(all, tagXML{name, value})
	}
	slices.SortFunc(all, func(a, b tagXML) int { return strings.Compare(a.Key, b.Key) })
	return all
}

func timeText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
