package runbooks

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// The forms of names that clouds and hosts give out. A wrong one would be found
// out in the middle of an outage.
var (
	regionName   = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]+$`)
	instanceName = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)
	unitName     = regexp.MustCompile(`^[A-Za-z0-9:_.@-]+\.service$`)
	userName     = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	sshHost      = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9][A-Za-z0-9._:-]*$`)
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func (d *decoder) checkProvision(path string, p *Provision) {
	if p == nil {
		return
	}
	if d.known(path+".command") && len(p.Command) == 0 {
		d.wrong(path+".command", "the list is empty; write the program and its arguments")
	}
	if p.Unit != "" && len(p.Command) > 0 {
		d.wrong(path+".unit", "the service is started by a unit of the image or by a command; write one of the two")
	}
	if p.Unit != "" && !unitName.MatchString(p.Unit) {
		d.wrong(path+".unit", "%q is no unit; write the whole name, such as fun-asr.service", p.Unit)
	}
	if p.User != "" && !userName.MatchString(p.User) {
		d.wrong(path+".user", "%q is no user name", p.User)
	}
	if p.Dir != "" && !strings.HasPrefix(p.Dir, "/") && p.Kind != "local" {
		d.wrong(path+".dir", "%q is relative; write an absolute path", p.Dir)
	}
	d.checkHost(path, p)
	if p.RootSize < 0 || p.RootSize > 16384 {
		d.wrong(path+".root_size", "%d is out of range; 1 to 16384 GiB", p.RootSize)
	}
	if p.RootRate != 0 && (p.RootRate < 100 || p.RootRate > 300) {
		d.wrong(path+".root_rate", "%d is out of range; 100 to 300 MiB/s", p.RootRate)
	}
	if p.Keep == "stopped" && !slices.ContainsFunc(p.Placements, func(place Placement) bool { return place.Instance != "" }) {
		d.wrong(path+".keep", "no placement names a prepared machine; add instance to at least one")
	}
	for i, place := range p.Placements {
		d.checkPlacement(fmt.Sprintf("%s.placements[%d]", path, i), p, place)
	}
}

func (d *decoder) checkHost(path string, p *Provision) {
	if p.Host != "" && !sshHost.MatchString(p.Host) {
		d.wrong(path+".host", "%q is no host that ssh could reach; write host, user@host or a name from ssh's configuration", p.Host)
	}
	for name := range p.Env {
		if !variableName.MatchString(name) {
			d.wrong(path+".env", "%q is no name of a variable; it has letters, digits and underscores", name)
		}
	}
	for i, port := range p.Ports {
		if port < 1 || port > 65535 {
			d.wrong(fmt.Sprintf("%s.ports[%d]", path, i), "%d is no port; 1 to 65535", port)
		}
	}
}

func (d *decoder) checkPlacement(path string, p *Provision, place Placement) {
	need := func(key, value string) {
		if value == "" {
			d.wrong(join(path, key), "the key is missing; kind %s needs it in each placement", p.Kind)
		}
	}
	if place.Instance == "" {
		need("image", place.Image)
	} else if p.Keep == "" {
		d.wrong(path+".instance", "a prepared machine is started only with keep: stopped; add that to provision")
	}
	if p.Kind == "libvirt" {
		d.checkGuest(path, p, place)
	}
	if p.Kind != "ec2" {
		return
	}
	need("region", place.Region)
	if place.Region != "" && !regionName.MatchString(place.Region) {
		d.wrong(path+".region", "%q is no region; write its code, such as us-west-2", place.Region)
	}
	if place.Zone != "" && !strings.HasPrefix(place.Zone, place.Region) {
		d.wrong(path+".zone", "%q is no zone of region %s", place.Zone, place.Region)
	}
	if place.Instance != "" {
		if !instanceName.MatchString(place.Instance) {
			d.wrong(path+".instance", "%q is no instance; write its id, such as i-0123456789abcdef0", place.Instance)
		}
		if place.Reservation != "" {
			d.wrong(path+".reservation", "a prepared machine brings its own reservation along; leave the key out beside instance")
		}
		return
	}
	need("type", place.Type)
	if place.Reservation != "" && !strings.HasPrefix(place.Reservation, "cr-") {
		d.wrong(path+".reservation", "%q is no capacity reservation; write its id, such as cr-0123456789abcdef0", place.Reservation)
	}
}

// checkGuest checks a placement on a hypervisor: something must lead to the machine.
func (d *decoder) checkGuest(path string, p *Provision, place Placement) {
	if place.Type != "" && place.Type != "kvm" && place.Type != "qemu" {
		d.wrong(path+".type", "%q is no type of kind libvirt; kvm or qemu, or leave it out", place.Type)
	}
	if place.Subnet != "" || place.Instance != "" {
		return
	}
	if u, err := url.Parse(p.URI); p.URI != "" && (err != nil || u.Host != "") {
		d.wrong(path+".subnet", "the key is missing; a machine on another host is reached through a network: its name, or bridge:NAME")
	} else if len(p.Ports) == 0 {
		d.wrong(path+".subnet", "the key is missing; name a network, or the ports that lead to the machine on this host (provision.ports)")
	}
}
