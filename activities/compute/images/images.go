// Package images is about images that machines boot from: how they are built,
// what they hold, and how they come to a hypervisor.
//
// An image has a name and a version, such as asr@3, and is never changed: what
// changed is a new version. It is a directory of files, and files in a storage
// pool with the same names: a disk, a kernel and a first file system where it
// brings its own, and a manifest that lists them all.
package images

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// How an image starts.
const (
	// Slim images start the service with a small script, and nothing else.
	Slim = "slim"
	// Systemd images are whole systems, with cloud-init.
	Systemd = "systemd"
)

const manifestSuffix = ".json"

// ErrImage means that an image is not there, or not what its manifest says.
var ErrImage = errors.New("image not usable")

// Ref names an image. Without a version it means the newest.
type Ref struct{ Name, Version string }

var (
	nameFormat    = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,62}$`)
	versionFormat = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
)

// ParseRef reads name@version, or a name alone.
func ParseRef(text string) (Ref, error) {
	name, version, found := strings.Cut(text, "@")
	if !nameFormat.MatchString(name) || found && !versionFormat.MatchString(version) {
		return Ref{}, fmt.Errorf("%w: %q is no image; write name@version, such as asr@3", ErrImage, text)
	}
	return Ref{name, version}, nil
}

func (r Ref) String() string {
	if r.Version == "" {
		return r.Name
	}
	return r.Name + "@" + r.Version
}

// ManifestName is the file that describes the image.
func (r Ref) ManifestName() string { return r.String() + manifestSuffix }

// File is the name of a file of the image.
func (r Ref) File(suffix string) string { return r.String() + suffix }

// Choose finds the version that is meant among the files of a pool. The error
// says which versions there are.
func (r Ref) Choose(names []string) (Ref, error) {
	var versions []string
	for _, other := range In(names) {
		if other.Name == r.Name {
			versions = append(versions, other.Version)
		}
	}
	switch {
	case len(versions) == 0:
		return r, fmt.Errorf("%w: there is no image %s", ErrImage, r.Name)
	case r.Version == "":
		return Ref{r.Name, slices.MaxFunc(versions, CompareVersions)}, nil
	case !slices.Contains(versions, r.Version):
		slices.SortFunc(versions, CompareVersions)
		return r, fmt.Errorf("%w: there is no version %s of image %s, but %s", ErrImage, r.Version, r.Name, strings.Join(versions, ", "))
	}
	return r, nil
}

// In are the images whose manifests are among the files, by name and version.
func In(names []string) []Ref {
	var refs []Ref
	for _, file := range names {
		text, found := strings.CutSuffix(file, manifestSuffix)
		if ref, err := ParseRef(text); found && err == nil && ref.Version != "" {
			refs = append(refs, ref)
		}
	}
	slices.SortFunc(refs, func(a, b Ref) int {
		if a.Name != b.Name {
			return strings.Compare(a.Name, b.Name)
		}
		return CompareVersions(a.Version, b.Version)
	})
	return refs
}

var versionParts = regexp.MustCompile(`[0-9]+|[^0-9]+`)

// CompareVersions compares runs of digits as numbers: 10 comes after 9.
func CompareVersions(a, b string) int {
	return slices.CompareFunc(versionParts.FindAllString(a, -1), versionParts.FindAllString(b, -1), func(x, y string) int {
		m, errX := strconv.ParseUint(x, 10, 64)
		n, errY := strconv.ParseUint(y, 10, 64)
		if errX == nil && errY == nil && m != n {
			if m < n {
				return -1
			}
			return 1
		}
		return strings.Compare(x, y)
	})
}

// File is one file of an image.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Manifest says what an image is.
type Manifest struct {
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Made    time.Time `json:"made"`
	// Init is Slim or Systemd.
	Init string `json:"init"`
	// Disk is the file of the disk, a qcow2; Capacity its size for the guest, in bytes.
	Disk     string `json:"disk"`
	Capacity int64  `json:"capacity"`
	// Kernel and Initrd are files that the hypervisor starts; empty where the disk starts by itself.
	Kernel  string `json:"kernel,omitempty"`
	Initrd  string `json:"initrd,omitempty"`
	Cmdline string `json:"cmdline,omitempty"`
	// Memory is the least that a machine needs, in MiB.
	Memory int `json:"memory,omitempty"`
	// Packages that were asked for, with their versions.
	Packages map[string]string `json:"packages,omitempty"`
	Files    []File            `json:"files"`
}

// Ref names the image.
func (m Manifest) Ref() Ref { return Ref{m.Name, m.Version} }

// ParseManifest reads the manifest of an image, and refuses that of another.
func ParseManifest(text []byte, want Ref) (Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%w: its manifest cannot be read: %v", ErrImage, err)
	}
	if m.Ref() != want {
		return m, fmt.Errorf("%w: its manifest is that of %s", ErrImage, m.Ref())
	}
	listed := map[string]bool{}
	for _, f := range m.Files {
		if !strings.HasPrefix(f.Name, want.String()+".") || strings.ContainsAny(f.Name, "/\\ \n") {
			return m, fmt.Errorf("%w: its manifest lists %q, which is no file of it", ErrImage, f.Name)
		}
		listed[f.Name] = true
	}
	for _, name := range []string{m.Disk, m.Kernel, m.Initrd} {
		if name != "" && !listed[name] || m.Disk == "" {
			return m, fmt.Errorf("%w: its manifest does not list its file %q", ErrImage, name)
		}
	}
	if (m.Kernel == "") != (m.Initrd == "") {
		return m, fmt.Errorf("%w: its manifest names a kernel without a first file system, or the reverse", ErrImage)
	}
	return m, nil
}
