package libvirt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/understudy-dr/understudy/activities/compute/images"
	"github.com/understudy-dr/understudy/runbooks"
)

// transfer bounds moving one file of an image.
const transfer = 30 * time.Minute

// slow is the same provider with the patience that whole disks need.
func (p *Provider) slow() *Provider {
	c := p.config
	c.Call = transfer
	return New(c)
}

// Images returns the manifests of the images in a pool.
func (p *Provider) Images(ctx context.Context, pool string) ([]images.Manifest, error) {
	at, names, err := p.shelf(ctx, pool)
	if err != nil {
		return nil, err
	}
	var all []images.Manifest
	for _, ref := range images.In(names) {
		m, err := p.manifest(ctx, at, ref)
		if err != nil {
			return all, err
		}
		all = append(all, m)
	}
	return all, nil
}

// CheckImage compares every byte of an image in a pool with its manifest. It
// brings the files here to do so.
func (p *Provider) CheckImage(ctx context.Context, pool string, ref images.Ref) (images.Manifest, error) {
	at, names, err := p.shelf(ctx, pool)
	if err != nil {
		return images.Manifest{}, err
	}
	if ref, err = ref.Choose(names); err != nil {
		return images.Manifest{}, err
	}
	dir, err := os.MkdirTemp("", "understudy-image-")
	if err != nil {
		return images.Manifest{}, err
	}
	defer os.RemoveAll(dir)
	m, err := p.manifest(ctx, at, ref)
	if err != nil {
		return m, err
	}
	files := []string{ref.ManifestName()}
	for _, f := range m.Files {
		files = append(files, f.Name)
	}
	for _, name := range files {
		if _, err := p.slow().call(ctx, at, "vol-download", "--pool", at.pool, "--vol", name, "--file", filepath.Join(dir, name)); err != nil && !errors.Is(err, errNoVolume) {
			return m, err
		}
	}
	return images.Check(dir, ref)
}

// PushImage uploads an image from a directory into a pool, the manifest last.
// An image of this name and version that is there already is left as it is; another
// one under that name is refused.
func (p *Provider) PushImage(ctx context.Context, pool, dir string, m images.Manifest) error {
	at, names, err := p.shelf(ctx, pool)
	if err != nil {
		return err
	}
	if slices.Contains(names, m.Ref().ManifestName()) {
		there, err := p.manifest(ctx, at, m.Ref())
		if err == nil && !slices.Equal(there.Files, m.Files) {
			err = fmt.Errorf("%w: pool %s has another %s; what changed is a new version", images.ErrImage, pool, m.Ref())
		}
		return err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	for _, f := range m.Files {
		if err := p.push(ctx, at, f.Name, filepath.Join(dir, f.Name), f.Size); err != nil {
			return err
		}
	}
	file, err := written(text)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	return p.push(ctx, at, m.Ref().ManifestName(), file, int64(len(text)))
}

// push uploads one file; what an interrupted push has left is replaced.
func (p *Provider) push(ctx context.Context, at place, name, file string, size int64) error {
	if _, err := p.call(ctx, at, "vol-delete", "--pool", at.pool, "--vol", name); err != nil && !errors.Is(err, errNoVolume) {
		return err
	}
	if _, err := p.call(ctx, at, "vol-create-as", "--pool", at.pool, "--name", name, "--capacity", strconv.FormatInt(size, 10), "--allocation", "0", "--format", "raw"); err != nil {
		return err
	}
	if _, err := p.slow().call(ctx, at, "vol-upload", "--pool", at.pool, "--vol", name, "--file", file); err != nil {
		return err
	}
	_, err := p.call(ctx, at, "pool-refresh", "--pool", at.pool) // a volume that was raw is seen to be a qcow2 now
	return err
}

// shelf is a pool with all that is in its directory by now.
func (p *Provider) shelf(ctx context.Context, pool string) (place, []string, error) {
	at, err := p.place(runbooks.Provision{Pool: pool})
	if err != nil {
		return at, nil, err
	}
	if _, err := p.call(ctx, at, "pool-refresh", "--pool", at.pool); err != nil {
		return at, nil, err
	}
	names, err := p.volumes(ctx, at)
	return at, names, err
}

func (p *Provider) manifest(ctx context.Context, at place, ref images.Ref) (images.Manifest, error) {
	text, err := p.download(ctx, at, ref.ManifestName())
	if err != nil {
		return images.Manifest{}, err
	}
	m, err := images.ParseManifest(text, ref)
	if err != nil {
		return m, fmt.Errorf("%s: %w", ref, err)
	}
	return m, nil
}
