package route53

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/understudy-dr/understudy/activities/traffic"
)

const (
	// readyWeight is the weight of a server that comes onto the traffic. All that do get the same share.
	readyWeight = 100
	// mostComment bounds the comment of a batch, in characters.
	mostComment = 256
)

// changed returns the records as a change wants them. The server home, if there
// is one, has weight where no other has, unless the change itself names it.
func (r records) changed(c traffic.Change, home string) (records, error) {
	after := r.clone()
	homeless := home != ""
	for _, a := range c.Set {
		s, ok := after.find(a.Server)
		if !ok {
			return r, r.missing(a.Server)
		}
		if err := s.move(r.name, a.Address); err != nil {
			return r, err
		}
		s.set(a.State == traffic.Ready)
		homeless = homeless && a.Server != home
	}
	if homeless {
		s, ok := after.find(home)
		if !ok {
			return r, fmt.Errorf("traffic.home: %w", r.missing(home))
		}
		s.set(len(after.others(home)) == 0)
	}
	if family := after.weightless(); family != "" {
		return r, fmt.Errorf("%w: no %s record of %s would have weight, and Route 53 answers all of them then; %s", traffic.ErrRefused, family, r.name, after.remedy(family))
	}
	for _, p := range replaced(r, after) {
		if p.old.TrafficPolicyInstanceId != nil {
			return r, fmt.Errorf("%w: the record %s of %s belongs to a traffic policy, and only that may change it", traffic.ErrRefused, *p.old.SetIdentifier, r.name)
		}
	}
	return after, nil
}

// remedy says what else would give a type of records some weight.
func (r records) remedy(family types.RRType) string {
	for _, s := range r.servers {
		if s.ready() && !s.has(family) {
			return fmt.Sprintf("%s has no %s record: create one, or delete those of the others", s.name, family)
		}
	}
	return "put another server on the traffic in the same change"
}

// set gives the server's records weight, or takes it. A weight that is there stays.
func (s *server) set(ready bool) {
	for i := range s.records {
		record := &s.records[i]
		switch {
		case !ready:
			record.Weight = aws.Int64(0)
		case *record.Weight == 0:
			record.Weight = aws.Int64(readyWeight)
		}
	}
}

// move points the server's record to the host of an address; empty leaves it.
func (s *server) move(name, address string) error {
	if address == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q is no address", traffic.ErrRefused, address)
	}
	set := &s.records[0]
	if traffic.SameHost(host, value(*set)) && len(s.records) == 1 {
		return nil
	}
	refused := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s of %s cannot move to %s: "+format, append([]any{traffic.ErrRefused, s.name, name, address}, args...)...)
	}
	ip, notIP := netip.ParseAddr(host)
	switch {
	case len(s.records) > 1:
		return refused("it has a record of each type %s and %s, and one address moves only one of them; keep one record for a server whose address changes", s.records[0].Type, s.records[1].Type)
	case set.AliasTarget != nil:
		return refused("its record is an alias of %s; use a record of type A, AAAA or CNAME for a server whose address changes", value(*set))
	case set.Type == types.RRTypeCname && notIP == nil:
		return refused("its record is of type CNAME, which takes a host name; use one of type A or AAAA for machines with addresses")
	case set.Type == types.RRTypeA && (notIP != nil || !ip.Is4()):
		return refused("its record is of type A, which takes an IPv4 address")
	case set.Type == types.RRTypeAaaa && (notIP != nil || !ip.Is6()):
		return refused("its record is of type AAAA, which takes an IPv6 address")
	}
	set.ResourceRecords = []types.ResourceRecord{{Value: aws.String(host)}}
	return nil
}

// clone copies the records so far that set and move change only the copy.
func (r records) clone() records {
	r.servers = slices.Clone(r.servers)
	for i := range r.servers {
		r.servers[i].records = slices.Clone(r.servers[i].records)
	}
	return r
}

// replacement is a record before and after a change.
type replacement struct{ old, new types.ResourceRecordSet }

// replaced pairs the records that differ.
func replaced(before, after records) []replacement {
	var pairs []replacement
	for i, s := range before.servers {
		for j, old := range s.records {
			if now := after.servers[i].records[j]; *old.Weight != *now.Weight || value(old) != value(now) {
				pairs = append(pairs, replacement{old, now})
			}
		}
	}
	return pairs
}

// replacements are the changes that turn records into others: of those that
// differ, each is deleted as it was read and created as it shall be.
func replacements(before, after records) []types.Change {
	var batch []types.Change
	for _, p := range replaced(before, after) {
		batch = append(batch, p.changes()...)
	}
	return batch
}

// repetitions are the changes that replace the records of a change's servers by themselves.
func repetitions(r records, c traffic.Change) []types.Change {
	var batch []types.Change
	for _, a := range c.Set {
		if s, ok := r.find(a.Server); ok {
			for _, set := range s.records {
				batch = append(batch, replacement{set, set}.changes()...)
			}
		}
	}
	return batch
}

func (p replacement) changes() []types.Change {
	return []types.Change{
		{Action: types.ChangeActionDelete, ResourceRecordSet: &p.old},
		{Action: types.ChangeActionCreate, ResourceRecordSet: &p.new},
	}
}

// comment is what AWS's own log of changes tells of one.
func comment(c traffic.Change) string {
	var parts []string
	for _, a := range c.Set {
		parts = append(parts, a.Server+" "+string(a.State))
	}
	text := "Understudy: " + strings.Join(parts, ", ")
	return text[:min(len(text), mostComment)]
}
