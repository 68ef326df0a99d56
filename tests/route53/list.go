package route53fake

import (
	"slices"
	"strconv"
)

// mostItems is how many record sets Route 53 lists at most in one answer.
const mostItems = 300

// listing is the answer to ListResourceRecordSets.
type listing struct {
	ResourceRecordSets   []Record `xml:"ResourceRecordSets>ResourceRecordSet"`
	IsTruncated          bool
	NextRecordName       string `xml:",omitempty"`
	NextRecordType       string `xml:",omitempty"`
	NextRecordIdentifier string `xml:",omitempty"`
	MaxItems             string
}

// listRecords lists from a name, type and identifier on. It tells the newest
// records, also those that no name server has yet.
func (s *Server) listRecords(q *request) (any, *refusal) {
	z := s.zones[q.zone]
	if z == nil {
		return nil, noZone(q.zone)
	}
	if why := s.allow(Access{Action: "route53:ListResourceRecordSets", Resource: arn("hostedzone/" + z.id)}); why != nil {
		return nil, why
	}
	from := Record{Name: q.query.Get("name"), Type: q.query.Get("type"), SetIdentifier: q.query.Get("identifier")}
	if from.Name == "" && from.Type != "" || from.Type == "" && from.SetIdentifier != "" {
		return nil, refuse(400, "InvalidInput", "The request must contain the parameters before those that it has: name, type, identifier")
	}
	most := s.options.Page
	if text := q.query.Get("maxitems"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, refuse(400, "InvalidInput", "maxitems %s is not valid", text)
		}
		most = min(most, n)
	}
	out := listing{MaxItems: strconv.Itoa(most)}
	rest := z.records
	if from.Name != "" {
		from.Name = fqdn(from.Name)
		at, _ := slices.BinarySearchFunc(rest, from, less)
		rest = rest[at:]
	}
	if len(rest) > most {
		next := rest[most]
		out.IsTruncated, out.NextRecordName, out.NextRecordType, out.NextRecordIdentifier = true, next.Name, next.Type, next.SetIdentifier
		rest = rest[:most]
	}
	out.ResourceRecordSets = rest
	return out, nil
}
