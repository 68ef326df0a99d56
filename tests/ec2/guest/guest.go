// Package guest lets the fake EC2 launch real machines: a guest under QEMU for
// each instance, from the image behind its AMI, with a metadata service at
// 169.254.169.254 that hands it its user data and the credentials of its role.
//
// A guest answers at its instance's address, at the ports that are forwarded. It
// sees this host's loopback at Host.
package guest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/compute/images"
	"github.com/understudy-dr/understudy/tests/ec2"
	"github.com/understudy-dr/understudy/tests/harness"
)

const (
	// Host is this host's loopback, as a guest sees it: the metadata service is on the link, so the link is 169.254.0.0/16.
	Host = "169.254.0.2"
	// MetadataAddress is where a guest finds its metadata service.
	MetadataAddress = "169.254.169.254"

	// offPatience is how long a guest has to shut down; EC2 waits for minutes.
	offPatience = 5 * time.Second
	// console is how much of a guest's console is kept, in bytes: as much as EC2 keeps.
	console = 64 << 10
)

// Config describes what is launched.
type Config struct {
	// Dir is where disks and consoles go; it exists.
	Dir string
	// Images is the directory of images, AMIs the image behind each AMI.
	Images string
	AMIs   map[string]images.Ref
	// Ports are forwarded from the instance's address.
	Ports []int
	// Memory of each guest, in MiB. Default 768.
	Memory int
	// Role returns the credentials of an instance profile; nil has none.
	Role func(profile string) (Credentials, error)
}

// Launch is a launch hook for the fake EC2. An instance that is stopped and
// started again has the disk that it had.
func Launch(c Config) func(ec2.Boot) (ec2.Machine, error) {
	if c.Memory == 0 {
		c.Memory = 768
	}
	return func(b ec2.Boot) (ec2.Machine, error) {
		ref, known := c.AMIs[b.Image]
		if !known {
			return ec2.Machine{}, fmt.Errorf("launch %s: nothing is behind %s", b.ID, b.Image)
		}
		image, err := images.ReadManifest(c.Images, ref)
		if err != nil {
			return ec2.Machine{}, fmt.Errorf("launch %s: %w", b.ID, err)
		}
		g := &guest{config: c, boot: b, image: image}
		return g.start()
	}
}

// guest is one that runs.
type guest struct {
	config   Config
	boot     ec2.Boot
	image    images.Manifest
	metadata *http.Server
	process  *harness.Process
}

func (g *guest) at(suffix string) string { return filepath.Join(g.config.Dir, g.boot.ID+suffix) }

func (g *guest) start() (ec2.Machine, error) {
	if err := g.disk(); err != nil {
		return ec2.Machine{}, fmt.Errorf("make the disk of %s: %w", g.boot.ID, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return ec2.Machine{}, fmt.Errorf("start the metadata service of %s: %w", g.boot.ID, err)
	}
	g.metadata = &http.Server{Handler: newMetadata(g.boot, g.config.Role), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = g.metadata.Serve(l) }()
	// The monitor of the boot before this one.
	if err := os.Remove(g.at(".monitor")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return ec2.Machine{}, err
	}
	g.process, err = harness.Start(context.Background(), harness.Spec{
		Name: g.boot.ID, Path: "qemu-system-x86_64", Dir: g.config.Dir, Args: g.arguments(l.Addr().String()),
	})
	if err != nil {
		g.metadata.Close()
		return ec2.Machine{}, err
	}
	return ec2.Machine{Stop: g.stop, Console: g.console, Ended: g.process.Done()}, nil
}

// disk makes an overlay on the image, where there is none yet.
func (g *guest) disk() error {
	if _, err := os.Stat(g.at(".qcow2")); err == nil {
		return nil
	}
	base := filepath.Join(g.config.Images, g.image.Disk)
	out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, g.at(".qcow2")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// arguments are QEMU's. The firmware's tables say that this is EC2, by which
// programs in the guest know where their metadata is.
func (g *guest) arguments(metadata string) []string {
	network := "user,id=net,net=169.254.0.0/16,host=" + Host + ",dns=169.254.0.3,dhcpstart=169.254.0.15,guestfwd=tcp:" + MetadataAddress + ":80-cmd:socat -t 10 - TCP:" + metadata
	for _, port := range g.config.Ports {
		network += fmt.Sprintf(",hostfwd=tcp:%s:%d-:%d", g.boot.Address, port, port)
	}
	// An instance's id is 17 hexadecimal digits; an EC2 system's UUID begins with ec2.
	id := strings.TrimPrefix(g.boot.ID, "i-")
	uuid := fmt.Sprintf("ec2%s-%s-4000-8000-%012s", id[:5], id[5:9], id[len(id)-8:])
	return []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc,accel=tcg", "-smp", "1", "-m", fmt.Sprint(g.config.Memory), "-no-reboot",
		"-smbios", "type=1,manufacturer=Amazon EC2,product=" + g.boot.Type + ",uuid=" + strings.ReplaceAll(uuid, " ", "0"),
		"-kernel", filepath.Join(g.config.Images, g.image.Kernel), "-initrd", filepath.Join(g.config.Images, g.image.Initrd), "-append", g.image.Cmdline,
		"-drive", "if=none,id=root,format=qcow2,file=" + g.at(".qcow2"), "-device", "virtio-blk-pci,drive=root",
		"-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile=",
		"-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
		"-serial", "file:" + g.at(".console"), "-monitor", "unix:" + g.at(".monitor") + ",server=on,wait=off",
	}
}

// stop presses the power button, and pulls the plug where that does not help.
func (g *guest) stop() {
	if conn, err := net.Dial("unix", g.at(".monitor")); err == nil {
		fmt.Fprintln(conn, "system_powerdown")
		defer conn.Close()
	}
	select {
	case <-g.process.Done():
	case <-time.After(offPatience):
		g.process.Kill()
	}
	g.metadata.Close()
}

// console is what the guest has written; where QEMU has something to say, that too.
func (g *guest) console() string {
	text, err := os.ReadFile(g.at(".console"))
	if err != nil {
		return g.process.Tail(console)
	}
	return string(text[max(0, len(text)-console):]) + g.process.Tail(1000)
}
