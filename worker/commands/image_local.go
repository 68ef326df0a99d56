package commands

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/understudy-dr/understudy/activities/compute/images"
	"github.com/understudy-dr/understudy/activities/compute/libvirt"
)

// imagePlace is where images are.
type imagePlace struct {
	Dir  string `help:"Directory with images." default:"images" type:"path"`
	URI  string `help:"A hypervisor instead, such as qemu:///system or qemu+ssh://host/system." placeholder:"URI"`
	Pool string `help:"Its storage pool." default:"understudy"`
}

type imageBuildCommand struct {
	Description string `arg:"" help:"YAML file that describes the image." type:"existingfile"`
	Dir         string `help:"Directory for the image." default:"images" type:"path"`
}

func (imageBuildCommand) Help() string {
	return `A description names the image, its version, Debian packages and files:

  name: asr
  version: "3"
  packages: [s3fs, sqlite3]
  files: [{from: bin/asr, to: /usr/local/bin/asr, mode: "0755"}]

init: slim (default) boots in seconds and runs one service; init: systemd is a whole Debian with cloud-init. docs/images.md has more.`
}

func (c *imageBuildCommand) Run(g *Globals) error {
	d, err := images.ReadDescription(c.Description)
	if err != nil {
		return err
	}
	began := time.Now()
	m, err := images.Build(g.ctx, d, c.Dir, g.err)
	if err != nil {
		return err
	}
	return g.print(m, func(w io.Writer) {
		fmt.Fprintf(w, "%s is built in %s: %.0f MB in %d files, after %s\n", m.Ref(), c.Dir, megabytes(m), len(m.Files), time.Since(began).Round(time.Second))
	})
}

type imageListCommand struct{ imagePlace }

func (c *imageListCommand) Run(g *Globals) error {
	all, err := c.list(g)
	if err != nil {
		return err
	}
	return g.print(all, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		fmt.Fprintln(t, "IMAGE\tINIT\tMADE\tSIZE\tPACKAGES")
		for _, m := range all {
			fmt.Fprintf(t, "%s\t%s\t%s\t%.0f MB\t%s\n", m.Ref(), m.Init, m.Made.Format(time.DateOnly), megabytes(m), cmp.Or(strings.Join(slices.Sorted(maps.Keys(m.Packages)), " "), "-"))
		}
		_ = t.Flush() // a failing terminal has nobody to tell
	})
}

func (c *imageListCommand) list(g *Globals) ([]images.Manifest, error) {
	if c.URI != "" {
		return libvirt.New(libvirt.Config{URI: c.URI}).Images(g.ctx, c.Pool)
	}
	return images.List(c.Dir)
}

type imageCheckCommand struct {
	Image string `arg:"" help:"name@version, or a name for the newest version."`
	imagePlace
}

func (c *imageCheckCommand) Run(g *Globals) error {
	ref, err := images.ParseRef(c.Image)
	if err != nil {
		return err
	}
	var m images.Manifest
	if c.URI != "" {
		m, err = libvirt.New(libvirt.Config{URI: c.URI}).CheckImage(g.ctx, c.Pool, ref)
	} else {
		m, err = images.Check(c.Dir, ref)
	}
	if err != nil {
		return err
	}
	return g.print(m, func(w io.Writer) {
		fmt.Fprintf(w, "%s is whole: %d files, %.0f MB, as its manifest says\n", m.Ref(), len(m.Files), megabytes(m))
	})
}

type imagePushCommand struct {
	Image string `arg:"" help:"name@version, or a name for the newest version."`
	Dir   string `help:"Directory with the image." default:"images" type:"path"`
	URI   string `help:"Hypervisor to bring it to." default:"qemu:///system" placeholder:"URI"`
	Pool  string `help:"Its storage pool; it must be there." default:"understudy"`
}

func (imagePushCommand) Help() string {
	return `The image is checked, its files are uploaded, the manifest last, so that a pool holds either a whole image or none. What is there already stays.`
}

func (c *imagePushCommand) Run(g *Globals) error {
	ref, err := images.ParseRef(c.Image)
	if err != nil {
		return err
	}
	m, err := images.Check(c.Dir, ref)
	if err != nil {
		return err
	}
	if err := libvirt.New(libvirt.Config{URI: c.URI}).PushImage(g.ctx, c.Pool, c.Dir, m); err != nil {
		return err
	}
	return g.print(m, func(w io.Writer) {
		fmt.Fprintf(w, "%s is in pool %s of %s: %.0f MB\n", m.Ref(), c.Pool, c.URI, megabytes(m))
	})
}

// megabytes is what an image weighs.
func megabytes(m images.Manifest) float64 {
	var sum int64
	for _, f := range m.Files {
		sum += f.Size
	}
	return float64(sum) / 1e6
}
