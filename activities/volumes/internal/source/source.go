// Package source looks at what a bucket holds of a volume, before anything is
// mounted or copied.
//
// One listing and the manifest show whether the store answers at all, whether
// each file is there and has the right size, and whether something is there that
// the manifest does not know. A volume that is wrong is so refused within a
// second, and a store that accepts and never answers is noticed by a request
// that can be given up, not by a mount that cannot.
package source

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/s3access"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/activities/volumes/internal/manifest"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// DefaultManifest is the name of the manifest where the runbook gives none.
	DefaultManifest = "MANIFEST.sha256"
	// lookTimeout bounds the look also where the tier has minutes: a store that needs longer for a listing will not
	// deliver gigabytes either, and the next tier should begin.
	lookTimeout = 15 * time.Second
	// maxVersion is more than a VERSION file may hold, in bytes.
	maxVersion = 4 << 10
	// maxObjects is more files than any model has.
	maxObjects = 100_000
)

// Object is one file of a volume in its bucket.
type Object struct {
	// Path below the volume.
	Path string
	Key  string
	Size int64
	ETag string
}

// Source is a volume in its bucket.
type Source struct {
	At     s3client.Location
	Client *s3.Client
	// Name of the manifest, and what it says. Sizes that it does not tell come from the listing.
	Name     string
	Manifest manifest.Manifest
	// Text of the manifest, as it is.
	Text []byte
	// Objects are the files that the manifest lists, in its order.
	Objects []Object
	Bytes   int64
}

// Look lists a volume and compares the listing with its manifest. Errors are
// volumes.ErrUnavailable, ErrRefused or ErrWrong.
func Look(ctx context.Context, clients s3access.Clients, v runbooks.Volume) (*Source, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	s := &Source{Name: Name(v)}
	var err error
	if s.At, err = s3client.ParseURL(v.Source); err != nil {
		return nil, fmt.Errorf("%w: %w", volumes.ErrRefused, err)
	}
	if s.Client, err = clients.For(s.At.Bucket); err != nil {
		return nil, fmt.Errorf("%w: %w", volumes.ErrRefused, err)
	}
	listing, err := List(ctx, s.Client, s.At)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(listing, func(o Object) bool { return o.Path == s.Name }) {
		return nil, fmt.Errorf("%w: %s has no %s, so it cannot be proven; write it with understudy volume push", volumes.ErrRefused, s.At, s.Name)
	}
	if s.Text, err = Read(ctx, s.Client, s.At.Join(s.Name), manifest.MaxSize); err != nil {
		return nil, err
	}
	if s.Manifest, err = manifest.Parse(bytes.NewReader(s.Text)); err != nil {
		return nil, fmt.Errorf("%s: %w", s.At.Join(s.Name), err)
	}
	return s, s.compare(listing)
}

// Version reads the version of the model, empty where it has none.
func (s *Source) Version(ctx context.Context) (string, error) {
	if _, listed := s.Manifest.Find(manifest.VersionFile); !listed {
		return "", nil
	}
	content, err := Read(ctx, s.Client, s.At.Join(manifest.VersionFile), maxVersion)
	if err != nil {
		return "", err
	}
	return manifest.ParseVersion(content)
}

// Name is the name of a volume's manifest.
func Name(v runbooks.Volume) string {
	if v.Manifest == "" {
		return DefaultManifest
	}
	return v.Manifest
}

func (s *Source) compare(listing []Object) error {
	var entries []manifest.Entry
	for _, o := range listing {
		if o.Path == s.Name {
			continue
		}
		if err := manifest.CheckPath(o.Path); err != nil {
			return fmt.Errorf("%w: an object of %s: %w", volumes.ErrWrong, s.At, err)
		}
		entries = append(entries, manifest.Entry{Path: o.Path, Size: o.Size})
		s.Objects, s.Bytes = append(s.Objects, o), s.Bytes+o.Size
	}
	if err := s.Manifest.Compare(entries, false); err != nil {
		return fmt.Errorf("%s: %w", s.At, err)
	}
	for i := range s.Manifest.Entries { // they are the same files now, in the same order
		s.Manifest.Entries[i].Size = entries[i].Size
	}
	return nil
}

// List lists the files below a location, sorted by path. The empty objects with
// which some tools mark directories are left out.
func List(ctx context.Context, client s3.ListObjectsV2APIClient, at s3client.Location) ([]Object, error) {
	base := at.Join("").Key
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: aws.String(at.Bucket), Prefix: aws.String(base)})
	var listing []Object
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, Explain("list "+at.String(), err)
		}
		for _, o := range page.Contents {
			key := aws.ToString(o.Key)
			if name := strings.TrimPrefix(key, base); name != "" && !strings.HasSuffix(name, "/") {
				listing = append(listing, Object{Path: name, Key: key, Size: aws.ToInt64(o.Size), ETag: aws.ToString(o.ETag)})
			}
		}
		if len(listing) > maxObjects {
			return nil, fmt.Errorf("%w: more than %d objects below %s; name the directory of one model", volumes.ErrRefused, maxObjects, at)
		}
	}
	slices.SortFunc(listing, func(a, b Object) int { return strings.Compare(a.Path, b.Path) })
	return listing, nil
}

// Read reads a small object; a larger one is volumes.ErrWrong.
func Read(ctx context.Context, client *s3.Client, at s3client.Location, limit int64) ([]byte, error) {
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(at.Bucket), Key: aws.String(at.Key)})
	if err != nil {
		return nil, Explain("read "+at.String(), err)
	}
	defer out.Body.Close()
	content, err := io.ReadAll(io.LimitReader(out.Body, limit+1))
	if err != nil {
		return nil, Explain("read "+at.String(), err)
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%w: %s is larger than %d bytes", volumes.ErrWrong, at, limit)
	}
	return content, nil
}
