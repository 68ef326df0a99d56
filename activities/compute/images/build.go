package images

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Defaults of a description.
const (
	DefaultSuite  = "bookworm"
	DefaultMirror = "http://deb.debian.org/debian"
	DefaultSize   = "2G"
)

//go:embed build.sh slim.sh initrd.sh dhcp.sh cloud.cfg document.service
var parts embed.FS

// Description is what an image is built from, as a file says it.
type Description struct {
	// Name and Version of the image. A version is built once.
	Name    string `yaml:"name"`
	Version string `yaml:"version"`
	// Init is Slim or Systemd. Default Slim.
	Init string `yaml:"init"`
	// Packages of Debian that the service needs.
	Packages []string `yaml:"packages"`
	// Files that are copied into the image.
	Files []Copy `yaml:"files"`
	// Size of the disk, such as 2G; what is copied from S3 has to fit as well.
	Size string `yaml:"size"`
	// Memory is the least that a machine needs, in MiB.
	Memory int `yaml:"memory"`
	// Suite and Mirror of Debian.
	Suite  string `yaml:"suite"`
	Mirror string `yaml:"mirror"`
}

// Copy is a file or directory that is copied into an image. From is relative to
// the description; Mode is octal, default 0644.
type Copy struct {
	From string `yaml:"from"`
	To   string `yaml:"to"`
	Mode string `yaml:"mode"`
}

var (
	packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	sizeFormat  = regexp.MustCompile(`^[1-9][0-9]{0,5}[MG]$`)
	modeFormat  = regexp.MustCompile(`^0?[0-7]{3}$`)
	suiteFormat = regexp.MustCompile(`^[a-z0-9-]+$`)
)

// ReadDescription reads a description. Unknown keys are mistakes.
func ReadDescription(file string) (Description, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Description{}, err
	}
	var d Description
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&d); err != nil {
		return d, fmt.Errorf("%s: %w", file, err)
	}
	for _, f := range []struct {
		value    *string
		fallback string
	}{{&d.Init, Slim}, {&d.Size, DefaultSize}, {&d.Suite, DefaultSuite}, {&d.Mirror, DefaultMirror}} {
		if *f.value == "" {
			*f.value = f.fallback
		}
	}
	for i := range d.Files {
		if !filepath.IsAbs(d.Files[i].From) {
			d.Files[i].From = filepath.Join(filepath.Dir(file), d.Files[i].From)
		}
		if d.Files[i].Mode == "" {
			d.Files[i].Mode = "0644"
		}
	}
	if err := d.check(); err != nil {
		return d, fmt.Errorf("%s: %w", file, err)
	}
	return d, nil
}

func (d Description) check() error {
	if ref, err := ParseRef(d.Name + "@" + d.Version); err != nil || ref.Version == "" {
		return fmt.Errorf("%w: name %q and version %q make no image", ErrImage, d.Name, d.Version)
	}
	for _, p := range d.Packages {
		if !packageName.MatchString(p) {
			return fmt.Errorf("%w: %q is no package", ErrImage, p)
		}
	}
	for _, f := range d.Files {
		if !filepath.IsAbs(f.To) || strings.ContainsAny(f.From+f.To, "\t\n") || !modeFormat.MatchString(f.Mode) {
			return fmt.Errorf("%w: files: from %q to %q with mode %q; to is an absolute path, mode octal", ErrImage, f.From, f.To, f.Mode)
		}
		if _, err := os.Stat(f.From); err != nil {
			return fmt.Errorf("%w: files: %w", ErrImage, err)
		}
	}
	switch {
	case d.Init != Slim && d.Init != Systemd:
		return fmt.Errorf("%w: init %q is neither %s nor %s", ErrImage, d.Init, Slim, Systemd)
	case !sizeFormat.MatchString(d.Size):
		return fmt.Errorf("%w: size %q; write one such as 2G", ErrImage, d.Size)
	case !suiteFormat.MatchString(d.Suite) || !strings.HasPrefix(d.Mirror, "http"):
		return fmt.Errorf("%w: suite %q of mirror %q", ErrImage, d.Suite, d.Mirror)
	}
	return nil
}

// Build builds an image into a directory and returns its manifest. The files
// appear together at the end, the manifest last; a version that is there is
// refused. It needs root, for a root file system has files of root's, and
// debootstrap, mkfs.ext4 and qemu-img. Progress goes to tell.
func Build(ctx context.Context, d Description, dir string, tell io.Writer) (Manifest, error) {
	if os.Geteuid() != 0 {
		return Manifest{}, fmt.Errorf("%w: building an image needs root", ErrImage)
	}
	for program, from := range map[string]string{"debootstrap": "debootstrap", "mkfs.ext4": "e2fsprogs", "qemu-img": "qemu-utils"} {
		if _, err := exec.LookPath(program); err != nil {
			return Manifest{}, fmt.Errorf("%w: %s is not installed: apt-get install %s", ErrImage, program, from)
		}
	}
	ref := Ref{d.Name, d.Version}
	if _, err := os.Stat(filepath.Join(dir, ref.ManifestName())); err == nil {
		return Manifest{}, fmt.Errorf("%w: %s has %s already; what changed is a new version", ErrImage, dir, ref)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Manifest{}, err
	}
	work, err := os.MkdirTemp(dir, ".build-")
	if err != nil {
		return Manifest{}, err
	}
	defer os.RemoveAll(work)
	if err := d.run(ctx, work, tell); err != nil {
		return Manifest{}, err
	}
	m := Manifest{
		Name: d.Name, Version: d.Version, Made: time.Now().UTC().Truncate(time.Second), Init: d.Init, Memory: d.Memory,
		Disk: ref.File(".qcow2"), Kernel: ref.File(".vmlinuz"), Initrd: ref.File(".initrd"), Cmdline: "console=ttyS0 quiet panic=-1 root=/dev/vda rw",
	}
	if m.Packages, err = versions(filepath.Join(work, "packages"), d.Packages); err != nil {
		return m, err
	}
	if info, err := os.Stat(filepath.Join(work, "disk")); err == nil {
		m.Capacity = info.Size()
	}
	for _, name := range []string{m.Disk, m.Kernel, m.Initrd} {
		f, err := Hash(filepath.Join(work, name))
		if err != nil {
			return m, err
		}
		m.Files = append(m.Files, f)
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return m, err
	}
	if err := os.WriteFile(filepath.Join(work, ref.ManifestName()), append(text, '\n'), 0o644); err != nil {
		return m, err
	}
	for _, name := range []string{m.Disk, m.Kernel, m.Initrd, ref.ManifestName()} {
		if err := os.Rename(filepath.Join(work, name), filepath.Join(dir, name)); err != nil {
			return m, err
		}
	}
	return m, nil
}

// run calls the script that builds the files.
func (d Description) run(ctx context.Context, work string, tell io.Writer) error {
	var list strings.Builder
	for _, f := range d.Files {
		fmt.Fprintf(&list, "%s\t%s\t%s\n", f.From, f.To, f.Mode)
	}
	files := filepath.Join(work, "files")
	if err := os.WriteFile(files, []byte(list.String()), 0o644); err != nil {
		return err
	}
	scripts := filepath.Join(work, "parts")
	if err := os.CopyFS(scripts, parts); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "sh", filepath.Join(scripts, "build.sh"))
	cmd.Env = append(os.Environ(), "OUT="+filepath.Join(work, Ref{d.Name, d.Version}.String()), "WORK="+work, "INIT="+d.Init, "INCLUDE="+strings.Join(d.Packages, ","),
		"SUITE="+d.Suite, "MIRROR="+d.Mirror, "SIZE="+d.Size, "FILES="+files, "PARTS="+scripts)
	cmd.Stdout, cmd.Stderr = tell, tell
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: building %s@%s: %w", ErrImage, d.Name, d.Version, err)
	}
	return nil
}

// versions are those of the packages that were asked for.
func versions(file string, wanted []string) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if name, version, ok := strings.Cut(lines.Text(), " "); ok && slices.Contains(wanted, name) {
			found[name] = version
		}
	}
	return found, nil
}

// Hash describes a file.
func Hash(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	return File{Name: filepath.Base(path), Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))}, err
}

// ReadManifest reads the manifest of an image in a directory.
func ReadManifest(dir string, ref Ref) (Manifest, error) {
	names, err := names(dir)
	if err != nil {
		return Manifest{}, err
	}
	if ref, err = ref.Choose(names); err != nil {
		return Manifest{}, err
	}
	text, err := os.ReadFile(filepath.Join(dir, ref.ManifestName()))
	if err != nil {
		return Manifest{}, err
	}
	return ParseManifest(text, ref)
}

// Check compares every byte of an image in a directory with its manifest.
func Check(dir string, ref Ref) (Manifest, error) {
	m, err := ReadManifest(dir, ref)
	if err != nil {
		return m, err
	}
	for _, want := range m.Files {
		got, err := Hash(filepath.Join(dir, want.Name))
		switch {
		case errors.Is(err, os.ErrNotExist):
			return m, fmt.Errorf("%w: %s is missing", ErrImage, want.Name)
		case err != nil:
			return m, err
		case got != want:
			return m, fmt.Errorf("%w: %s has %d bytes and sha256 %s, the manifest says %d and %s", ErrImage, want.Name, got.Size, got.SHA256, want.Size, want.SHA256)
		}
	}
	return m, nil
}

// List returns the manifests of the images in a directory.
func List(dir string) ([]Manifest, error) {
	names, err := names(dir)
	if err != nil {
		return nil, err
	}
	var all []Manifest
	for _, ref := range In(names) {
		m, err := ReadManifest(dir, ref)
		if err != nil {
			return all, fmt.Errorf("%s: %w", ref, err)
		}
		all = append(all, m)
	}
	return all, nil
}

func names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}
