// Package push uploads model directories, so that mounters can bring them.
//
// The manifest is written last: a prefix holds either a manifest and what it
// says, or no manifest and is refused by every mounter. An upload that was
// broken off is repeated; what arrived is not sent again. What the prefix held
// before is not overwritten unless that is asked for: it may be the model that
// the next recovery needs. A new version best gets a prefix of its own.
//
// A large file that is broken off in the middle by a kill leaves parts in the
// bucket that only a lifecycle rule removes (AbortIncompleteMultipartUpload).
package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/s3access"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/activities/volumes/internal/manifest"
	"github.com/understudy-dr/understudy/activities/volumes/internal/source"
)

const (
	// DefaultParallel is how many requests run at once.
	DefaultParallel = 4
	// DefaultPart is how much of a large file one request sends, in bytes; as much memory times DefaultParallel is used.
	DefaultPart = 16 << 20

	// sumKey is the metadata of an object that tells the sha256 of its content.
	sumKey = "sha256"
)

// Step is what a push is doing.
type Step string

// The steps of a push.
const (
	Hashing   Step = "hashing"
	Uploading Step = "uploading"
)

// Config says what to upload, and where to.
type Config struct {
	Clients s3access.Clients
	// Dir is the model directory.
	Dir string
	// To is where it goes: s3://bucket/prefix.
	To string
	// Manifest is the name of the manifest. Default MANIFEST.sha256.
	Manifest string
	// Replace overwrites another model that the prefix holds, and removes the files of it that this one has not.
	Replace bool
	// Parallel and Part default to DefaultParallel and DefaultPart.
	Parallel int
	Part     int64
	// Tell is told the progress of each step, from one goroutine at a time. May be nil.
	Tell func(Step, volumes.Progress)
}

// Result is what a push did.
type Result struct {
	At      string `json:"at"`
	Version string `json:"version,omitempty"`
	// Files and Bytes of the model.
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// Uploaded, Skipped (because they were there already) and Removed count files.
	Uploaded int `json:"uploaded"`
	Skipped  int `json:"skipped"`
	Removed  int `json:"removed"`
}

// pusher is one push.
type pusher struct {
	Config
	client   *s3.Client
	at       s3client.Location
	root     *os.Root
	manifest manifest.Manifest
	// there is what the prefix holds, the manifest left out.
	there map[string]source.Object
	// marked says that the prefix holds a manifest, and agrees that it is this one.
	marked, agrees bool
}

// Push uploads a model directory. It is idempotent: repeated, it sends what is
// missing. Errors are volumes.ErrUnavailable where the store does not answer,
// volumes.ErrWrong where the directory cannot be a model or changes meanwhile,
// and volumes.ErrRefused where the prefix holds something else.
func Push(ctx context.Context, c Config) (Result, error) {
	p, err := newPusher(c)
	if err != nil {
		return Result{}, err
	}
	defer p.root.Close()

	// 1. Hash the directory.
	built, summary, err := manifest.Build(ctx, p.Dir, manifest.Options{Name: p.Manifest, Tell: p.tell(Hashing)})
	if err != nil {
		return Result{}, err
	}
	p.manifest = built
	result := Result{At: p.at.String(), Version: summary.Version, Files: summary.Files, Bytes: summary.Bytes}
	if err := p.agree(); err != nil {
		return Result{}, err
	}
	// 2. Look at what the prefix holds.
	extra, err := p.look(ctx)
	if err != nil {
		return Result{}, err
	}
	missing, err := p.missing(ctx)
	if err != nil {
		return Result{}, err
	}
	result.Uploaded, result.Skipped = len(missing), len(built.Entries)-len(missing)
	if p.agrees && len(missing)+len(extra) == 0 {
		return result, nil
	}
	// 3. From here on the prefix is no model, until it is one again.
	if p.marked {
		if err := p.remove(ctx, p.Manifest); err != nil {
			return Result{}, err
		}
	}
	if err := p.uploadAll(ctx, missing); err != nil {
		return Result{}, err
	}
	for _, name := range extra {
		if err := p.remove(ctx, name); err != nil {
			return Result{}, err
		}
		result.Removed++
	}
	return result, p.put(ctx, p.Manifest, built.Encode(), "")
}

func newPusher(c Config) (*pusher, error) {
	if c.Manifest == "" {
		c.Manifest = source.DefaultManifest
	}
	if c.Parallel <= 0 {
		c.Parallel = DefaultParallel
	}
	if c.Part <= 0 {
		c.Part = DefaultPart
	}
	p := &pusher{Config: c}
	if err := manifest.CheckPath(c.Manifest); err != nil {
		return nil, fmt.Errorf("%w: name of the manifest: %w", volumes.ErrRefused, err)
	}
	var err error
	if p.at, err = s3client.ParseURL(c.To); err != nil {
		return nil, fmt.Errorf("%w: %w", volumes.ErrRefused, err)
	}
	if p.client, err = c.Clients.For(p.at.Bucket); err != nil {
		return nil, fmt.Errorf("%w: %w", volumes.ErrRefused, err)
	}
	if p.root, err = os.OpenRoot(c.Dir); err != nil {
		return nil, fmt.Errorf("%w: %w", volumes.ErrRefused, err)
	}
	return p, nil
}

func (p *pusher) tell(step Step) func(volumes.Progress) {
	if p.Tell == nil {
		return nil
	}
	return func(progress volumes.Progress) { p.Tell(step, progress) }
}

// agree compares the directory with the manifest that came with it, where one
// did: a model that was damaged on its way here is not made the truth.
func (p *pusher) agree() error {
	content, err := p.root.ReadFile(p.Manifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", volumes.ErrRefused, err)
	}
	own, err := manifest.Parse(bytes.NewReader(content))
	if err == nil {
		err = own.Compare(p.manifest.Entries, false)
	}
	for _, e := range own.Entries {
		if found, _ := p.manifest.Find(e.Path); err == nil && found.Sum != e.Sum {
			err = &manifest.Mismatch{File: e.Path, Want: e.Sum, Got: found.Sum}
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w; remove the manifest if the change is meant", filepath.Join(p.Dir, p.Manifest), err)
	}
	return nil
}

// look lists the prefix, and refuses one that holds something else. It returns
// the files that would have to be removed.
func (p *pusher) look(ctx context.Context) (extra []string, err error) {
	listing, err := source.List(ctx, p.client, p.at)
	if err != nil {
		return nil, err
	}
	p.there = map[string]source.Object{}
	for _, o := range listing {
		if o.Path == p.Manifest {
			p.marked = true
			continue
		}
		p.there[o.Path] = o
		if _, ours := p.manifest.Find(o.Path); !ours {
			extra = append(extra, o.Path)
		}
	}
	if p.marked {
		content, err := source.Read(ctx, p.client, p.at.Join(p.Manifest), manifest.MaxSize)
		if err != nil {
			return nil, err
		}
		old, err := manifest.Parse(bytes.NewReader(content))
		p.agrees = err == nil && old.Same(p.manifest)
	}
	if p.Replace {
		return extra, nil
	}
	if p.marked && !p.agrees {
		return nil, fmt.Errorf("%w: %s holds another model; push to a prefix of its own, or replace it explicitly", volumes.ErrRefused, p.at)
	}
	if len(extra) > 0 {
		return nil, fmt.Errorf("%w: %s holds %s, which %s does not; push to a prefix of its own, or replace it explicitly", volumes.ErrRefused, p.at, list(extra), p.Dir)
	}
	return nil, nil
}

func list(names []string) string {
	const most = 3
	told := strings.Join(names[:min(len(names), most)], ", ")
	if len(names) > most {
		told += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return told
}

// missing lists the files that the prefix has not, or has with other content.
func (p *pusher) missing(ctx context.Context) ([]manifest.Entry, error) {
	var missing []manifest.Entry
	for _, e := range p.manifest.Entries {
		o, there := p.there[e.Path]
		if there && o.Size == e.Size {
			same, err := p.same(ctx, o, e)
			if err != nil {
				return nil, err
			}
			if same {
				continue
			}
		}
		missing = append(missing, e)
	}
	slices.SortFunc(missing, func(a, b manifest.Entry) int { return int(min(max(b.Size-a.Size, -1), 1)) })
	return missing, nil
}

func (p *pusher) same(ctx context.Context, o source.Object, e manifest.Entry) (bool, error) {
	out, err := p.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(p.at.Bucket), Key: aws.String(o.Key)})
	if s3client.Missing(err) {
		return false, nil
	}
	if err != nil {
		return false, source.Explain("look at "+p.at.Join(e.Path).String(), err)
	}
	return out.Metadata[sumKey] == e.Sum, nil
}

func (p *pusher) remove(ctx context.Context, name string) error {
	object := p.at.Join(name)
	if _, err := p.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(object.Bucket), Key: aws.String(object.Key)}); err != nil {
		return source.Explain("remove "+object.String(), err)
	}
	return nil
}
