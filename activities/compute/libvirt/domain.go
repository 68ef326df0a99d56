package libvirt

import (
	"fmt"
	"path"
	"strings"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/compute/images"
)

// machineXML is a domain as libvirt defines it. The network stands at the end
// or in the middle, since libvirt 9 knows no forwarding of its own: QEMU is told.
const machineXML = `<domain type='%[1]s' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>%[2]s</name>
  <uuid>%[3]s</uuid>
  <metadata>%[4]s</metadata>
  <memory unit='MiB'>%[5]d</memory>
  <vcpu>%[6]d</vcpu>
%[7]s
  <features><acpi/><apic/></features>
%[8]s  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>%[9]s</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='volume' device='disk'>
      <driver name='qemu' type='qcow2' discard='unmap'/>
      <source pool='%[10]s' volume='%[11]s'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='volume' device='disk'>
      <driver name='qemu' type='raw'/>
      <source pool='%[10]s' volume='%[12]s'/>
      <target dev='vdb' bus='virtio'/>
      <readonly/>
    </disk>
    <serial type='file'><source path='%[13]s'/><target port='0'/></serial>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <panic model='isa'/>
%[14]s  </devices>
%[15]s</domain>
`

// placed is an image as a pool holds it, with the paths that its hypervisor sees.
type placed struct {
	images.Manifest
	// disk is the volume's name, dir the pool's directory.
	disk, dir string
	// capacity is the size of the disk that the guest sees, in bytes.
	capacity int64
}

// render is the domain of an order.
func render(at place, o compute.Order, n notes, image placed, virt string) string {
	devices, tail := network(at, o)
	start := "  <os><type arch='x86_64'>hvm</type><boot dev='hd'/></os>"
	reboot := "restart"
	if image.Kernel != "" {
		start = fmt.Sprintf("  <os>\n    <type arch='x86_64'>hvm</type>\n    <kernel>%s</kernel>\n    <initrd>%s</initrd>\n    <cmdline>%s</cmdline>\n  </os>",
			escape(path.Join(image.dir, image.Kernel)), escape(path.Join(image.dir, image.Initrd)), escape(image.Cmdline))
	}
	if image.Init == images.Slim {
		reboot = "destroy" // it reboots where its kernel panics, and would do so again
	}
	cpu := ""
	if virt == "kvm" {
		cpu = "  <cpu mode='host-passthrough'/>\n"
	}
	return fmt.Sprintf(machineXML, virt, at.domain(o.Key), at.uuid(o), n.element("u:machine", ` xmlns:u="`+Namespace+`"`),
		memory(o.Placement), cpus(o.Placement), start, cpu, reboot, at.pool, volume(o.Key, diskVolume), volume(o.Key, seedVolume),
		escape(path.Join(image.dir, volume(o.Key, consoleVolume))), devices, tail)
}

// network is an interface of libvirt's, or QEMU's own with forwarded ports.
func network(at place, o compute.Order) (devices, tail string) {
	subnet := o.Placement.Subnet
	if bridge, found := strings.CutPrefix(subnet, "bridge:"); found {
		return fmt.Sprintf("    <interface type='bridge'><mac address='%s'/><source bridge='%s'/><model type='virtio'/></interface>\n", at.mac(o.Key), escape(bridge)), ""
	}
	if subnet != "" {
		return fmt.Sprintf("    <interface type='network'><mac address='%s'/><source network='%s'/><model type='virtio'/></interface>\n", at.mac(o.Key), escape(subnet)), ""
	}
	forward := "user,id=understudy"
	for _, port := range o.Provision.Ports {
		forward += fmt.Sprintf(",hostfwd=tcp:%s:%d-:%d", at.loopback(o.Key), port, port)
	}
	device := "virtio-net-pci,netdev=understudy,mac=" + at.mac(o.Key) + ",romfile=,addr=0x10"
	var b strings.Builder
	b.WriteString("  <qemu:commandline>\n")
	for _, word := range []string{"-netdev", forward, "-device", device} {
		fmt.Fprintf(&b, "    <qemu:arg value='%s'/>\n", escape(word))
	}
	b.WriteString("  </qemu:commandline>\n")
	return "", b.String()
}
