package traffic

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

var (
	// name is what a server, a backend or an upstream may be called. Names are written to sockets and into
	// configuration files, so whatever could end a command there has no place in them.
	name = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$`)
	// host is a name as DNS has it.
	host = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
)

// Validate reports what is wrong with a change, as ErrRefused; whoever runs into
// it has sent nothing yet. Every implementation asks it before anything else,
// whatever checked the runbook before.
func (c Change) Validate() error {
	seen := map[string]bool{}
	for _, a := range c.Set {
		if err := ValidName(a.Server); err != nil {
			return err
		}
		if seen[a.Server] {
			return fmt.Errorf("%w: %s is set twice in one change", ErrRefused, a.Server)
		}
		seen[a.Server] = true
		switch a.State {
		case Ready, Drain, Maint:
		default:
			return fmt.Errorf("%w: %q is no state; there are ready, drain and maint", ErrRefused, a.State)
		}
		if a.Address == "" {
			continue
		}
		if err := ValidAddress(a.Address); err != nil {
			return err
		}
	}
	return nil
}

// ValidName reports, as ErrRefused, a name that no server, backend or upstream may have.
func ValidName(text string) error {
	if !name.MatchString(text) {
		return fmt.Errorf("%w: %q is no name at a load balancer; use letters, digits and . _ : -, at most 128", ErrRefused, text)
	}
	return nil
}

// ValidAddress reports, as ErrRefused, what is not host:port with an IP address
// (IPv6 in brackets, without a zone) or a DNS name, and a port of 1 to 65535.
func ValidAddress(text string) error {
	h, port, err := net.SplitHostPort(text)
	if err != nil {
		return fmt.Errorf("%w: %q is no address; write host:port", ErrRefused, text)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '+' {
		return fmt.Errorf("%w: %q has no port of 1 to 65535", ErrRefused, text)
	}
	if ip, err := netip.ParseAddr(h); err == nil && ip.Zone() == "" {
		return nil
	}
	if !host.MatchString(h) {
		return fmt.Errorf("%w: %q names no host", ErrRefused, text)
	}
	return nil
}

// SameAddress reports whether two addresses are the same place, however they are written.
func SameAddress(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := netip.ParseAddrPort(a)
	y, errY := netip.ParseAddrPort(b)
	return errX == nil && errY == nil && x == y
}

// SameHost reports whether two hosts are the same IP address or DNS name, however they are written.
func SameHost(a, b string) bool {
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	if errX == nil || errY == nil {
		return errX == nil && errY == nil && x == y
	}
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}
