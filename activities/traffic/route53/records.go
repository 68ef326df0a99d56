package route53

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/traffic"
)

// longTTL is the longest time for which clients may keep an address without a
// word about it. AWS advises no more for names that move.
const longTTL = time.Minute

// server is one server with its records, one for each type.
type server struct {
	name    string
	records []types.ResourceRecordSet
}

// records are the weighted records of one name.
type records struct {
	// zone and name are for people.
	zone, name string
	servers    []server
}

// isFamily reports whether records of a type lead to a server.
func isFamily(t types.RRType) bool {
	return t == types.RRTypeA || t == types.RRTypeAaaa || t == types.RRTypeCname
}

// parse takes what was listed from the name on.
func parse(zone, name string, listed []types.ResourceRecordSet) (records, error) {
	r := records{zone: zone, name: strings.TrimSuffix(name, ".")}
	for _, set := range listed {
		if canonical(aws.ToString(set.Name)) != name || !isFamily(set.Type) {
			continue
		}
		if set.Weight == nil || aws.ToString(set.SetIdentifier) == "" {
			return r, fmt.Errorf("%w: the %s record of %s is not a weighted one; %s", traffic.ErrRefused, set.Type, r.name, r.advice("each server"))
		}
		i := slices.IndexFunc(r.servers, func(s server) bool { return s.name == *set.SetIdentifier })
		if i < 0 {
			i, r.servers = len(r.servers), append(r.servers, server{name: *set.SetIdentifier})
		}
		r.servers[i].records = append(r.servers[i].records, set)
	}
	// Route 53 lists them so; what is compared with what was read before must not depend on it.
	slices.SortFunc(r.servers, func(a, b server) int { return cmp.Compare(a.name, b.name) })
	for _, s := range r.servers {
		slices.SortFunc(s.records, func(a, b types.ResourceRecordSet) int { return cmp.Compare(a.Type, b.Type) })
	}
	if len(r.servers) == 0 {
		return r, fmt.Errorf("%w: zone %s has no record %s; %s", traffic.ErrNoServer, zone, r.name, r.advice("each server"))
	}
	return r, nil
}

// advice says how records are made that Understudy can move.
func (r records) advice(whom string) string {
	return fmt.Sprintf("create in zone %s a weighted record %s of type A, AAAA or CNAME for %s, with the server's name as its set identifier, weight 0 while it gets no traffic, and a TTL of 60 seconds", r.zone, r.name, whom)
}

// missing is the error for a server without a record.
func (r records) missing(name string) error {
	return fmt.Errorf("%w: %s has no record with the set identifier %s; %s", traffic.ErrNoServer, r.name, name, r.advice(name))
}

func (r records) find(name string) (*server, bool) {
	for i := range r.servers {
		if r.servers[i].name == name {
			return &r.servers[i], true
		}
	}
	return nil, false
}

// ready reports whether any record of the server has weight.
func (s server) ready() bool {
	return slices.ContainsFunc(s.records, func(set types.ResourceRecordSet) bool { return *set.Weight > 0 })
}

// has reports whether the server has a record of a type.
func (s server) has(family types.RRType) bool {
	return slices.ContainsFunc(s.records, func(set types.ResourceRecordSet) bool { return set.Type == family })
}

// families lists the types of records that the name has.
func (r records) families() []types.RRType {
	var all []types.RRType
	for _, s := range r.servers {
		for _, set := range s.records {
			if !slices.Contains(all, set.Type) {
				all = append(all, set.Type)
			}
		}
	}
	return all
}

// weightless is a type of which no record has weight, so that Route 53 answers
// all of them; empty where there is none.
func (r records) weightless() types.RRType {
	for _, family := range r.families() {
		if !slices.ContainsFunc(r.servers, func(s server) bool {
			return slices.ContainsFunc(s.records, func(set types.ResourceRecordSet) bool { return set.Type == family && *set.Weight > 0 })
		}) {
			return family
		}
	}
	return ""
}

// astray reports that names resolve to servers that are not ready.
func (r records) astray() error {
	if family := r.weightless(); family != "" {
		return fmt.Errorf("%w: no %s record of %s has weight, so Route 53 answers all of them", traffic.ErrDisagree, family, r.name)
	}
	return nil
}

// beside reports that the server which has weight only while no other has, has
// it beside another.
func (r records) beside(home string) error {
	if home == "" {
		return nil
	}
	h, ok := r.find(home)
	if !ok {
		return fmt.Errorf("traffic.home: %w", r.missing(home))
	}
	if others := r.others(home); h.ready() && len(others) > 0 {
		return fmt.Errorf("%w: %s has weight beside %s at %s, and would have none", traffic.ErrDisagree, home, strings.Join(others, ", "), r.name)
	}
	return nil
}

// others names the servers that are ready, without one.
func (r records) others(than string) []string {
	var names []string
	for _, s := range r.servers {
		if s.name != than && s.ready() {
			names = append(names, s.name)
		}
	}
	return names
}

func (r records) view(at time.Time, port string) traffic.View {
	v := traffic.View{At: at}
	for _, s := range r.servers {
		state := traffic.Maint
		if s.ready() {
			state = traffic.Ready
		}
		v.Servers = append(v.Servers, traffic.Server{
			Name: s.name, Address: net.JoinHostPort(value(s.records[0]), port), State: state, DNS: true, Check: r.remarks(s),
		})
	}
	return v
}

// remarks says what an operator should know of a server's records.
func (r records) remarks(s server) string {
	var parts, notes []string
	for _, set := range s.records {
		parts = append(parts, fmt.Sprintf("%s %s, weight %d", set.Type, value(set), *set.Weight))
		ttl := time.Duration(aws.ToInt64(set.TTL)) * time.Second
		if ttl > longTTL {
			notes = append(notes, fmt.Sprintf("clients keep it for up to %s, a TTL of 60 seconds or less is better", ttl))
		}
		if set.HealthCheckId != nil || set.AliasTarget != nil && set.AliasTarget.EvaluateTargetHealth {
			notes = append(notes, "while its health check fails, Route 53 may answer servers of weight 0")
		}
	}
	for _, family := range r.families() {
		if !s.has(family) {
			notes = append(notes, fmt.Sprintf("it has no %s record, as others of this name have, and cannot take their place", family))
		}
	}
	return strings.Join(append([]string{strings.Join(parts, "; ")}, slices.Compact(notes)...), "; ")
}

// text is all that counts of the records: two texts are the same where the name
// servers answer the same.
func (r records) text() string {
	var b strings.Builder
	for _, s := range r.servers {
		for _, set := range s.records {
			fmt.Fprintf(&b, "%q %s %d %d %q %q\n", s.name, set.Type, *set.Weight, aws.ToInt64(set.TTL), value(set), aws.ToString(set.HealthCheckId))
		}
	}
	return b.String()
}

// value is where a record leads, without the dot at its end.
func value(set types.ResourceRecordSet) string {
	text := ""
	switch {
	case set.AliasTarget != nil:
		text = aws.ToString(set.AliasTarget.DNSName)
	case len(set.ResourceRecords) > 0:
		text = aws.ToString(set.ResourceRecords[0].Value)
	}
	return strings.TrimSuffix(probe.Printable(text, 253), ".")
}

// canonical is a name as Route 53 writes it.
func canonical(name string) string {
	return strings.ReplaceAll(strings.TrimSuffix(strings.ToLower(name), "."), "*", `\052`) + "."
}
