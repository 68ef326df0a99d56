package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/compute/images"
)

// remembered is how long it is known that a key was used. Keys hold an epoch,
// and come back only while their recovery runs.
const remembered = 30 * 24 * time.Hour

var capacityFormat = regexp.MustCompile(`Capacity: +([0-9]+)`)

// image finds an image and all its files in the pool.
func (p *Provider) image(ctx context.Context, at place, text string) (placed, error) {
	ref, err := images.ParseRef(text)
	if err != nil {
		return placed{}, refused("placements[].image: %v", err)
	}
	names, err := p.volumes(ctx, at)
	if err != nil {
		return placed{}, err
	}
	if ref, err = ref.Choose(names); err != nil {
		// What was copied into the directory by hand is not known to libvirt yet.
		if _, again := p.call(ctx, at, "pool-refresh", "--pool", at.pool); again != nil {
			return placed{}, again
		}
		if names, err = p.volumes(ctx, at); err != nil {
			return placed{}, err
		}
		if ref, err = ref.Choose(names); err != nil {
			return placed{}, refused("pool %s at %s: %v; understudy image push brings one there", at.pool, at.uri, err)
		}
	}
	text2, err := p.download(ctx, at, ref.ManifestName())
	if err != nil {
		return placed{}, unclassed(err)
	}
	manifest, err := images.ParseManifest(text2, ref)
	if err != nil {
		return placed{}, refused("image %s in pool %s: %v", ref, at.pool, err)
	}
	there := map[string]bool{}
	for _, name := range names {
		there[name] = true
	}
	for _, f := range manifest.Files {
		if !there[f.Name] {
			return placed{}, refused("image %s in pool %s is not whole: %s is missing; push it again", ref, at.pool, f.Name)
		}
	}
	found := placed{Manifest: manifest, disk: manifest.Disk}
	where, err := p.call(ctx, at, "vol-path", "--pool", at.pool, "--vol", found.disk)
	if err != nil {
		return placed{}, unclassed(err)
	}
	found.dir = path.Dir(strings.TrimSpace(where))
	info, err := p.call(ctx, at, "vol-info", "--bytes", "--pool", at.pool, "--vol", found.disk)
	if err != nil {
		return placed{}, unclassed(err)
	}
	size := capacityFormat.FindStringSubmatch(info)
	if size == nil {
		return placed{}, refused("image %s in pool %s: its size cannot be read", ref, at.pool)
	}
	found.capacity, _ = strconv.ParseInt(size[1], 10, 64)
	if manifest.Capacity != 0 && manifest.Capacity != found.capacity {
		return placed{}, refused("image %s in pool %s is a disk of %d bytes, its manifest says %d; push it again", ref, at.pool, found.capacity, manifest.Capacity)
	}
	return found, nil
}

// volumes are the names of all volumes in the pool.
func (p *Provider) volumes(ctx context.Context, at place) ([]string, error) {
	text, err := p.call(ctx, at, "vol-list", "--pool", at.pool)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 0 {
			names = append(names, fields[0])
		}
	}
	return names, nil
}

// unused is ErrUsed where a machine of this key was removed.
func (p *Provider) unused(ctx context.Context, at place, key string) error {
	names, err := p.volumes(ctx, at)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, volume(key, goneVolume)) {
			return fmt.Errorf("%w: the machine of key %s was removed", compute.ErrUsed, key)
		}
	}
	return nil
}

// upload writes a volume.
func (p *Provider) upload(ctx context.Context, at place, name string, content []byte) error {
	file, err := written(content)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	_, err = p.call(ctx, at, "vol-upload", "--pool", at.pool, "--vol", name, "--file", file)
	return unclassed(err)
}

// written is a temporary file with that content.
func written(content []byte) (string, error) {
	file, err := os.CreateTemp("", "understudy-libvirt-")
	if err != nil {
		return "", err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Close()); err != nil {
		os.Remove(file.Name())
	}
	return file.Name(), err
}

// unclassed takes the class from an error about a volume that was there a moment ago.
func unclassed(err error) error {
	if errors.Is(err, errNoVolume) {
		return errors.New(err.Error())
	}
	return err
}

// clear removes what a key has in the pool, but for the mark that it is used.
// It also forgets the marks of keys that nobody can come back with.
func (p *Provider) clear(ctx context.Context, at place, key string) error {
	if _, err := p.call(ctx, at, "pool-refresh", "--pool", at.pool); err != nil {
		return err // virtlogd may have made files beside the console that libvirt has not heard of
	}
	names, err := p.volumes(ctx, at)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		mine := strings.HasPrefix(name, volume(key, "")) && !strings.HasPrefix(name, volume(key, goneVolume))
		if mine || forgotten(name, time.Now()) {
			if _, err := p.call(ctx, at, "vol-delete", "--pool", at.pool, "--vol", name); err != nil && !errors.Is(err, errNoVolume) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// forgotten reports whether a volume is the mark of a key that was used long ago.
func forgotten(name string, now time.Time) bool {
	_, rest, _ := strings.Cut(name, "understudy+")
	_, mark, _ := strings.Cut(rest, "+")
	day, found := strings.CutPrefix(mark, goneVolume)
	at, err := time.Parse("20060102", day)
	return found && err == nil && now.Sub(at) > remembered
}
