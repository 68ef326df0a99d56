package route53fake

import (
	"encoding/xml"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	// mostChanges bounds a batch; a change of action UPSERT counts twice.
	mostChanges = 1000
	// mostComment bounds the comment of a batch, in characters.
	mostComment = 256
	mostWeight  = 255
	mostID      = 128
)

// Change is one change of a batch.
type Change struct {
	Action            string
	ResourceRecordSet Record
}

// changeRequest is the body of ChangeResourceRecordSets.
type changeRequest struct {
	XMLName xml.Name `xml:"ChangeResourceRecordSetsRequest"`
	Comment string   `xml:"ChangeBatch>Comment"`
	Changes []Change `xml:"ChangeBatch>Changes>Change"`
}

// changeInfo tells of a change.
type changeInfo struct {
	Id          string
	Status      string
	SubmittedAt string
	Comment     string `xml:",omitempty"`
}

// change is a batch that was carried out.
type change struct {
	id, comment string
	zone        *zone
	at          time.Time
	// records are those of the zone after it.
	records []Record
	// polls is how often it is still told as pending; Forever until somebody propagates.
	polls  int
	inSync bool
}

func (c *change) info() changeInfo {
	info := changeInfo{Id: "/change/" + c.id, Status: "PENDING", SubmittedAt: c.at.UTC().Format("2006-01-02T15:04:05.000Z"), Comment: c.comment}
	if c.inSync {
		info.Status = "INSYNC"
	}
	return info
}

// changeRecords carries out a batch, all of it or nothing.
func (s *Server) changeRecords(q *request) (any, *refusal) {
	var in changeRequest
	if err := xml.Unmarshal(q.body, &in); err != nil {
		return nil, refuse(400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema: %v", err)
	}
	z := s.zones[q.zone]
	if z == nil {
		return nil, noZone(q.zone)
	}
	if why := s.allow(in.access(z)); why != nil {
		return nil, why
	}
	if len(in.Comment) > mostComment {
		return nil, refuse(400, "InvalidInput", "1 validation error detected: Value at 'changeBatch.comment' failed to satisfy constraint: Member must have length less than or equal to %d", mostComment)
	}
	weight := len(in.Changes)
	for _, c := range in.Changes {
		if c.Action == "UPSERT" {
			weight++
		}
	}
	if weight == 0 || weight > mostChanges {
		return nil, refuse(400, "InvalidChangeBatch", "[Number of records limit of %d exceeded, or no records.]", mostChanges)
	}
	records, wrong := z.apply(in.Changes)
	if len(wrong) > 0 {
		return nil, refuse(400, "InvalidChangeBatch", "[%s]", strings.Join(wrong, ", "))
	}
	z.records = records
	c := &change{id: fmt.Sprintf("C%013d", len(s.changes)+1), comment: in.Comment, zone: z, at: s.options.Now(), records: records, polls: s.pending}
	s.changes = append(s.changes, c)
	info := c.info() // always pending at first
	if c.polls == 0 {
		s.settle(c)
	}
	return struct{ ChangeInfo changeInfo }{info}, nil
}

// getChange tells of a change; each look brings it nearer to the name servers.
func (s *Server) getChange(q *request) (any, *refusal) {
	if why := s.allow(Access{Action: "route53:GetChange", Resource: arn("change/" + q.change)}); why != nil {
		return nil, why
	}
	i := slices.IndexFunc(s.changes, func(c *change) bool { return c.id == q.change })
	if i < 0 {
		return nil, refuse(404, "NoSuchChange", "Could not find resource with ID: %s", q.change)
	}
	c := s.changes[i]
	switch {
	case c.inSync || c.polls == Forever:
	case c.polls == 0:
		s.settle(c)
	default:
		c.polls--
	}
	return struct{ ChangeInfo changeInfo }{c.info()}, nil
}

// Propagate brings all changes to the name servers.
func (s *Server) Propagate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.changes {
		if !c.inSync {
			s.settle(c)
		}
	}
}

// settle brings a change to the name servers, and what came before it in its zone.
func (s *Server) settle(last *change) {
	for _, c := range s.changes {
		if c.zone == last.zone && !c.inSync {
			c.inSync = true
			c.zone.served = c.records
		}
		if c == last {
			return
		}
	}
}

// apply returns the records after a batch, or what is wrong with it. Its changes
// are taken one after the other.
func (z *zone) apply(batch []Change) (records []Record, wrong []string) {
	records = slices.Clone(z.records)
	var deleted []Record
	for _, c := range batch {
		r := c.ResourceRecordSet
		r.Name = fqdn(r.Name)
		if why := z.invalid(r); why != "" {
			wrong = append(wrong, why)
			continue
		}
		at := slices.IndexFunc(records, r.is)
		switch {
		case c.Action == "DELETE" && slices.ContainsFunc(deleted, r.is):
			wrong = append(wrong, fmt.Sprintf("The request contains an invalid set of changes for a resource record set '%s %s'", r.Type, r.Name))
		case c.Action == "DELETE" && at < 0:
			wrong = append(wrong, fmt.Sprintf("Tried to delete resource record set %s but it was not found", r))
		case c.Action == "DELETE" && !records[at].same(r):
			wrong = append(wrong, fmt.Sprintf("Tried to delete resource record set %s but the values provided do not match the current values", r))
		case c.Action == "DELETE":
			records, deleted = slices.Delete(records, at, at+1), append(deleted, r)
		case c.Action == "CREATE" && at >= 0:
			wrong = append(wrong, fmt.Sprintf("Tried to create resource record set %s but it already exists", r))
		case c.Action == "UPSERT" && at >= 0:
			records[at] = r
		case c.Action == "CREATE" || c.Action == "UPSERT":
			if why := conflict(records, r, z.name); why != "" {
				wrong = append(wrong, why)
				continue
			}
			records = append(records, r)
		default:
			wrong = append(wrong, fmt.Sprintf("Invalid action %s", c.Action))
		}
	}
	slices.SortFunc(records, less)
	return records, wrong
}

// conflict says why a record set cannot stand beside those that are there.
func conflict(records []Record, r Record, zone string) string {
	for _, o := range records {
		switch {
		case o.Name != r.Name:
		case (o.Type == "CNAME") != (r.Type == "CNAME"):
			return fmt.Sprintf("RRSet of type %s with DNS name %s is not permitted as it conflicts with other records with the same DNS name in zone %s", r.Type, r.Name, zone)
		case o.Type == r.Type && o.policy() != r.policy():
			return fmt.Sprintf("RRSet with DNS name %s, type %s, SetIdentifier %s cannot be created because a %s RRSet exists with the same name and type", r.Name, r.Type, r.SetIdentifier, o.policy())
		}
	}
	return ""
}

// policy is the routing policy of a record set.
func (r Record) policy() string {
	switch {
	case r.Weight != nil:
		return "weighted"
	case r.Region != "":
		return "latency"
	case r.Failover != "":
		return "failover"
	default:
		return "simple"
	}
}

// invalid says what is wrong with a record set by itself; empty where nothing is.
func (z *zone) invalid(r Record) string {
	switch {
	case len(r.Others) > 0:
		return fmt.Sprintf("Invalid request: %s has elements that this fake does not play", r)
	case r.Name != z.name && !strings.HasSuffix(r.Name, "."+z.name):
		return fmt.Sprintf("RRSet with DNS name %s is not permitted in zone %s", r.Name, z.name)
	case (r.SetIdentifier == "") != (r.policy() == "simple") || len(r.SetIdentifier) > mostID:
		return fmt.Sprintf("Invalid request: Missing or invalid field 'SetIdentifier' in Change with %s", r)
	case r.Weight != nil && (*r.Weight < 0 || *r.Weight > mostWeight):
		return fmt.Sprintf("Invalid request: field 'Weight' of %s must be 0 to %d", r, mostWeight)
	case r.AliasTarget != nil && (len(r.ResourceRecords) > 0 || r.TTL != nil):
		return fmt.Sprintf("Invalid request: an alias has neither TTL nor ResourceRecords, as %s does", r)
	case r.AliasTarget == nil && (r.TTL == nil || len(r.ResourceRecords) == 0):
		return fmt.Sprintf("Invalid request: Missing field 'TTL' or 'ResourceRecords' in Change with %s", r)
	case r.Weight != nil && len(r.ResourceRecords) > 1:
		return fmt.Sprintf("Invalid request: a weighted resource record set has one ResourceRecord, not as %s", r)
	case r.Type == "CNAME" && r.Name == z.name:
		return fmt.Sprintf("RRSet of type CNAME with DNS name %s is not permitted at apex in zone %s", r.Name, z.name)
	}
	for _, v := range r.ResourceRecords {
		ip, err := netip.ParseAddr(v.Value)
		switch {
		case r.Type == "A" && (err != nil || !ip.Is4()):
			return fmt.Sprintf("Invalid Resource Record: 'FATAL problem: ARRDATAIllegalIPv4Address (Value is not a valid IPv4 address) encountered with '%s''", v.Value)
		case r.Type == "AAAA" && (err != nil || !ip.Is6() || ip.Zone() != ""):
			return fmt.Sprintf("Invalid Resource Record: 'FATAL problem: AAAARRDATAIllegalIPv6Address (Value is not a valid IPv6 address) encountered with '%s''", v.Value)
		case r.Type == "CNAME" && (v.Value == "" || strings.ContainsAny(v.Value, " \t\n")):
			return fmt.Sprintf("Invalid Resource Record: 'FATAL problem: DomainNameEmpty encountered with '%s''", v.Value)
		}
	}
	return ""
}
