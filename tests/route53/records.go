package route53fake

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
)

// Record is one resource record set, with the elements that are played.
type Record struct {
	Name                    string
	Type                    string
	SetIdentifier           string  `xml:",omitempty"`
	Weight                  *int64  `xml:",omitempty"`
	Region                  string  `xml:",omitempty"`
	Failover                string  `xml:",omitempty"`
	TTL                     *int64  `xml:",omitempty"`
	ResourceRecords         []Value `xml:"ResourceRecords>ResourceRecord,omitempty"`
	AliasTarget             *Alias  `xml:",omitempty"`
	HealthCheckId           string  `xml:",omitempty"`
	TrafficPolicyInstanceId string  `xml:",omitempty"`
	// Others are elements that are not played. Requests with such are refused.
	Others []other `xml:",any"`
}

// Value is one value of a record set.
type Value struct{ Value string }

// Alias is what a record set stands for instead of values.
type Alias struct {
	HostedZoneId         string
	DNSName              string
	EvaluateTargetHealth bool
}

type other struct{ XMLName xml.Name }

// Weighted is a weighted record set.
func Weighted(name, kind, id, value string, weight, ttl int64) Record {
	return Record{Name: name, Type: kind, SetIdentifier: id, Weight: &weight, TTL: &ttl, ResourceRecords: []Value{{value}}}
}

// zone is one hosted zone.
type zone struct {
	id, name string
	// records are what the API tells, served what the name servers answer from.
	records, served []Record
}

func newZone(id, name string) *zone {
	z := &zone{id: id, name: fqdn(name)}
	ttl := int64(900)
	z.records = []Record{
		{Name: z.name, Type: "NS", TTL: &ttl, ResourceRecords: []Value{{"ns-1.awsdns-01.org."}}},
		{Name: z.name, Type: "SOA", TTL: &ttl, ResourceRecords: []Value{{"ns-1.awsdns-01.org. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400"}}},
	}
	z.served = z.records
	return z
}

// Put creates records, or replaces them, as an operator does at the console, and
// returns once the name servers have them. Route 53's own rules hold.
func (s *Server) Put(zone string, records ...Record) error {
	return s.operator(zone, "UPSERT", records)
}

// Remove deletes records.
func (s *Server) Remove(zone string, records ...Record) error {
	return s.operator(zone, "DELETE", records)
}

func (s *Server) operator(id, action string, records []Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	z := s.zones[id]
	if z == nil {
		return fmt.Errorf("no hosted zone %s", id)
	}
	var batch []Change
	for _, r := range records {
		batch = append(batch, Change{Action: action, ResourceRecordSet: r})
	}
	changed, wrong := z.apply(batch)
	if len(wrong) > 0 {
		return fmt.Errorf("put records: %s", strings.Join(wrong, ", "))
	}
	z.records, z.served = changed, changed
	return nil
}

// Records returns what the API tells of a name, without NS and SOA; empty for all.
func (s *Server) Records(zone, name string) []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Record
	for _, r := range s.zones[zone].records {
		if r.Type != "NS" && r.Type != "SOA" && (name == "" || r.Name == fqdn(name)) {
			found = append(found, r)
		}
	}
	return found
}

// Answers returns the record sets of which the name servers answer one, with a
// chance that is its weight: those with weight, or all where none has any.
func (s *Server) Answers(name, kind string) []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all, some []Record
	for _, z := range s.zones {
		for _, r := range z.served {
			if r.Name == fqdn(name) && r.Type == kind {
				all = append(all, r)
				if r.Weight != nil && *r.Weight > 0 {
					some = append(some, r)
				}
			}
		}
	}
	if len(some) > 0 {
		return some
	}
	return all
}

// Resolve answers one query for a name; empty where there is nothing to answer.
func (s *Server) Resolve(name, kind string) string {
	answers := s.Answers(name, kind)
	total := int64(0)
	for _, r := range answers {
		total += chance(r)
	}
	if total == 0 {
		return ""
	}
	at := rand.Int64N(total)
	for _, r := range answers {
		if at -= chance(r); at < 0 {
			if r.AliasTarget != nil {
				return r.AliasTarget.DNSName
			}
			return r.ResourceRecords[0].Value
		}
	}
	return ""
}

// chance is a record's weight among the answers.
func chance(r Record) int64 {
	if r.Weight == nil || *r.Weight == 0 {
		return 1 // all are so, or it would not be among them
	}
	return *r.Weight
}

// is reports whether two record sets are one: they differ in name, type or identifier.
func (r Record) is(o Record) bool {
	return r.Name == o.Name && r.Type == o.Type && r.SetIdentifier == o.SetIdentifier
}

// same reports whether two record sets hold the same values, in any order.
func (r Record) same(o Record) bool {
	sorted := func(values []Value) []Value {
		return slices.SortedFunc(slices.Values(values), func(a, b Value) int { return cmp.Compare(a.Value, b.Value) })
	}
	r.ResourceRecords, o.ResourceRecords = sorted(r.ResourceRecords), sorted(o.ResourceRecords)
	return reflect.DeepEqual(r, o)
}

// String names a record set as Route 53's messages do.
func (r Record) String() string {
	text := fmt.Sprintf("[name='%s', type='%s'", r.Name, r.Type)
	if r.SetIdentifier != "" {
		text += fmt.Sprintf(", set identifier='%s'", r.SetIdentifier)
	}
	return text + "]"
}

// less orders record sets as they are listed: by name with its labels reversed, by type, by identifier.
func less(a, b Record) int {
	return cmp.Or(cmp.Compare(reversed(a.Name), reversed(b.Name)), cmp.Compare(a.Type, b.Type), cmp.Compare(a.SetIdentifier, b.SetIdentifier))
}

// reversed is www.example.com. as com.example.www., with the dot that counts when names are ordered.
func reversed(name string) string {
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	slices.Reverse(labels)
	return strings.Join(labels, ".") + "."
}

// fqdn is a name as Route 53 writes it.
func fqdn(name string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "*", `\052`)
	return strings.TrimSuffix(name, ".") + "."
}
