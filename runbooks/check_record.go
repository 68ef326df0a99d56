package runbooks

import (
	"net/url"
	"regexp"
	"strings"
)

var (
	hostedZone = regexp.MustCompile(`^(/hostedzone/)?[A-Z0-9]{1,32}$`)
	dnsName    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
)

// checkRecord looks at what only a traffic section of kind route53 has.
func (d *decoder) checkRecord(path string, t Traffic) {
	if t.Kind != "route53" {
		return
	}
	if t.Zone != "" && !hostedZone.MatchString(t.Zone) {
		d.wrong(path+".zone", "%q is no hosted zone; write its id, such as Z0123456789ABC, not its name", t.Zone)
	}
	record := strings.TrimSuffix(t.Record, ".")
	if t.Record != "" && !dnsName.MatchString(record) {
		d.wrong(path+".record", "%q is no name of a record; write it in full, such as asr.example.com", t.Record)
	}
	d.checkName(path+".home", t.Home)
	if u, err := url.Parse(t.Front); err == nil && u.Hostname() != "" && record != "" && !strings.EqualFold(u.Hostname(), record) {
		d.notice(path+".front", "clients come to %s, and %s is what Understudy changes; see that the one leads to the other", u.Hostname(), record)
	}
}

// checkOwnRecord looks at a tier with records other than the runbook's: they
// lead to the site that is left for as long as nobody changes that.
func (d *decoder) checkOwnRecord(path string, r *Runbook, t Tier) {
	if t.Traffic == nil || t.Traffic.Kind != "route53" {
		return
	}
	own := t.Traffic.Zone != r.Traffic.Zone || t.Traffic.Record != r.Traffic.Record
	switch home := t.Traffic.Home; {
	case own && home == "" && !d.known(path+".traffic.home"):
		d.wrong(path+".traffic.home", "the key is missing; name the set identifier of the record that leads to the site which this tier leaves, or clients go on coming to it")
	case home != "" && home == t.Server:
		d.wrong(path+".traffic.home", "%q is the standby's own server; home is the site that it takes over from", home)
	}
}

// notice adds what does not stop the file from being used.
func (d *decoder) notice(path, format string, args ...any) {
	d.wrong(path, format, args...)
	d.problems[len(d.problems)-1].Notice = true
}
