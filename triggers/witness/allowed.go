package witness

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/understudy-dr/understudy/runbooks"
)

// Targets are the base URLs that a witness may look at.
type Targets struct {
	exact map[string]bool
	// made are the URLs of machines that are still to be made: only their address is open.
	made []target
}

// target is a URL with a place for an address in it.
type target struct{ before, after string }

// Of collects the targets of runbooks: primaries, standbys, front doors.
func Of(library *runbooks.Library) Targets {
	t := Targets{exact: map[string]bool{}}
	for _, service := range library.Services() {
		r, _ := library.Lookup(service)
		t.add(r.Primary.URL)
		t.add(r.Traffic.Front)
		for _, tier := range r.Tiers {
			t.add(tier.URL)
			if tier.Traffic != nil {
				t.add(tier.Traffic.Front)
			}
		}
	}
	return t
}

// Listed makes targets of base URLs that somebody has written down.
func Listed(urls ...string) (Targets, error) {
	t := Targets{exact: map[string]bool{}}
	for _, text := range urls {
		u, err := url.Parse(strings.ReplaceAll(text, runbooks.AddressMark, "address"))
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "tcp" {
			return Targets{}, fmt.Errorf("%q is no base URL that can be looked at; it begins with http://, https:// or tcp://", text)
		}
		t.add(text)
	}
	return t, nil
}

func (t *Targets) add(base string) {
	base = strings.TrimRight(base, "/")
	if before, after, ok := strings.Cut(base, runbooks.AddressMark); ok {
		t.made = append(t.made, target{before, after})
	} else if base != "" {
		t.exact[base] = true
	}
}

// Empty reports whether nothing may be looked at.
func (t Targets) Empty() bool { return len(t.exact)+len(t.made) == 0 }

// Allow reports whether a base URL may be looked at: it is one of the targets,
// character for character, or one of a machine that was made, at an address at
// which a machine of ours can be.
func (t Targets) Allow(base string) bool {
	base = strings.TrimRight(base, "/")
	if t.exact[base] {
		return true
	}
	for _, m := range t.made {
		address, ok := strings.CutPrefix(base, m.before)
		if !ok {
			continue
		}
		if address, ok = strings.CutSuffix(address, m.after); ok && isMachine(address) {
			return true
		}
	}
	return false
}

// isMachine reports whether an address can be a machine's: neither this host
// itself, nor what clouds answer secrets at (169.254.169.254), nor a group.
func isMachine(address string) bool {
	ip, err := netip.ParseAddr(strings.Trim(address, "[]"))
	if err != nil {
		return isName(address)
	}
	ip = ip.Unmap()
	return !ip.IsLoopback() && !ip.IsLinkLocalUnicast() && !ip.IsMulticast() && !ip.IsUnspecified() && ip != metadataV6 && ip.Zone() == ""
}

// metadataV6 is where EC2 answers secrets over IPv6.
var metadataV6 = netip.MustParseAddr("fd00:ec2::254")

// isName reports whether an address is the full name of a host, as clouds give
// their machines: with a dot in it, and nothing that ends a host in a URL. What
// reads as a number is an address in disguise.
func isName(address string) bool {
	if len(address) > 253 || !strings.Contains(address, ".") || net.ParseIP(address) != nil {
		return false
	}
	for label := range strings.SplitSeq(address, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
			return false
		}
	}
	last := address[strings.LastIndexByte(address, '.')+1:]
	return strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(strings.ToLower(last), "0x")
}
