// Package files replicates a directory of files (generated audio, say) to a
// bucket, and restores it from there.
//
// A [Syncer] runs beside the service that writes the files, and copies them one
// way, from the directory to the prefix of its epoch. It never removes anything
// from the bucket: a directory that is empty because its disk is not mounted
// must not empty its replica. Each object carries the sha256 of its content, and
// a marker says up to which moment everything has arrived, so that the lag is
// known also while nothing is written.
//
// Whatever else copies the files to the bucket is fine too: without a marker the
// newest object tells the time, and without a hash the size has to do.
package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/holds"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/replica/internal/restoring"
	"github.com/understudy-dr/understudy/activities/s3access"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	how = "files"
	// lookTimeout bounds a look also where the caller has more time.
	lookTimeout = 30 * time.Second

	// markerName is the object that tells how far the replica is. It is no file of the directory, as no name that
	// begins with a dot is.
	markerName = ".understudy-synced"
	// sumKey and timeKey are the metadata of an object: sha256 of the content, and when the file was last written, in
	// nanoseconds since 1970.
	sumKey  = "sha256"
	timeKey = "mtime"
)

// marker is the content of the object of that name.
type marker struct {
	// Complete is the moment up to which everything that was written has arrived, by the clock of the writer.
	Complete time.Time `json:"complete"`
	// Files in the directory at that moment.
	Files int `json:"files"`
}

// Config is what the replica needs.
type Config struct {
	Clients s3access.Clients
	// State is the private directory that remembers what was restored. It must outlive Understudy.
	State string
	// Parallel is how many files are fetched at once; 0 takes DefaultParallel.
	Parallel int
}

// DefaultParallel is how many files are sent or fetched at once.
const DefaultParallel = 8

var _ replica.Replica = (*Replica)(nil)

// Replica restores directories.
type Replica struct {
	clients  s3access.Clients
	restorer *restoring.Restorer
}

// New returns a replica. It does not connect.
func New(c Config) *Replica {
	if c.Parallel <= 0 {
		c.Parallel = DefaultParallel
	}
	r := &Replica{clients: c.Clients}
	r.restorer = &restoring.Restorer{How: how, Book: holds.New(c.State), Way: way{r, c.Parallel}}
	return r
}

// Look returns how far the replica of an epoch is. Its position is the time of
// the newest object, by the clock of the store.
func (r *Replica) Look(ctx context.Context, d runbooks.Data, epoch int64) (replica.Point, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	s, err := r.open(d, epoch)
	if err != nil {
		return replica.Point{}, err
	}
	// The marker first: what it counts is then in the listing.
	m, marked, err := s.marker(ctx)
	if err != nil {
		return replica.Point{}, err
	}
	objects, err := s.list(ctx)
	if err != nil {
		return replica.Point{}, err
	}
	if len(objects) == 0 && !marked {
		return replica.Point{}, fmt.Errorf("%w at %s", replica.ErrNone, s.at)
	}
	newest := newestOf(objects)
	point := replica.Point{Epoch: epoch, Position: newest.Format(time.RFC3339Nano), At: newest, Items: len(objects)}
	if marked {
		point.At = m.Complete
	}
	return point, nil
}

// Epochs lists the epochs that have a prefix.
func (r *Replica) Epochs(ctx context.Context, d runbooks.Data) ([]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	at, client, err := r.at(d.Bucket)
	if err != nil {
		return nil, err
	}
	base := at.Join("").Key
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: aws.String(at.Bucket), Prefix: aws.String(base), Delimiter: aws.String("/")})
	var names []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, unavailable("list", at, err)
		}
		for _, p := range page.CommonPrefixes {
			names = append(names, strings.TrimSuffix(strings.TrimPrefix(aws.ToString(p.Prefix), base), "/"))
		}
	}
	return restoring.Epochs(names), nil
}

// Restore brings the files to the path of d. It brings what the replica holds by
// now, which may be more than at the point, and never less; what it brought is in
// the point that it returns.
func (r *Replica) Restore(ctx context.Context, key string, d runbooks.Data, p replica.Point) (replica.Restored, error) {
	return r.restorer.Restore(ctx, key, d, p)
}

// Remove takes the directory away. What a service wrote into it goes with it:
// this is for a standby that never took traffic.
func (r *Replica) Remove(ctx context.Context, key string, d runbooks.Data) error {
	return r.restorer.Remove(ctx, key, d)
}

// SetAside moves the restored data beside its path, with all that belongs to it.
func (r *Replica) SetAside(ctx context.Context, key string, d runbooks.Data) (string, error) {
	return r.restorer.SetAside(ctx, key, d)
}

// store is the prefix of one epoch.
type store struct {
	client *s3.Client
	at     s3client.Location
}

func (r *Replica) at(url string) (s3client.Location, *s3.Client, error) {
	at, err := s3client.ParseURL(url)
	if err != nil {
		return at, nil, fmt.Errorf("bucket: %w", err)
	}
	client, err := r.clients.For(at.Bucket)
	return at, client, err
}

func (r *Replica) open(d runbooks.Data, epoch int64) (store, error) {
	at, client, err := r.at(replica.Prefix(d.Bucket, epoch))
	return store{client, at}, err
}

// object is one file in the bucket.
type object struct {
	name string
	key  string
	size int64
	etag string
	at   time.Time
}

// list lists the files, without the marker and the empty objects with which some tools mark directories.
func (s store) list(ctx context.Context) ([]object, error) {
	base := s.at.Join("").Key
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: aws.String(s.at.Bucket), Prefix: aws.String(base)})
	var objects []object
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, unavailable("list", s.at, err)
		}
		for _, o := range page.Contents {
			name := strings.TrimPrefix(aws.ToString(o.Key), base)
			if name == markerName || name == "" || strings.HasSuffix(name, "/") {
				continue
			}
			objects = append(objects, object{name, aws.ToString(o.Key), aws.ToInt64(o.Size), aws.ToString(o.ETag), aws.ToTime(o.LastModified).UTC()})
		}
	}
	return objects, nil
}

func newestOf(objects []object) time.Time {
	var newest time.Time
	for _, o := range objects {
		if o.at.After(newest) {
			newest = o.at
		}
	}
	return newest
}

// maxMarker is more than a marker ever has, in bytes.
const maxMarker = 4 << 10

// marker reads the marker; false where there is none.
func (s store) marker(ctx context.Context) (marker, bool, error) {
	var m marker
	at := s.at.Join(markerName)
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(at.Bucket), Key: aws.String(at.Key)})
	if s3client.Missing(err) {
		return m, false, nil
	}
	if err != nil {
		return m, false, unavailable("read", at, err)
	}
	defer out.Body.Close()
	content, err := io.ReadAll(io.LimitReader(out.Body, maxMarker))
	if err != nil {
		return m, false, unavailable("read", at, err)
	}
	if err := json.Unmarshal(content, &m); err != nil || m.Complete.IsZero() {
		return m, false, fmt.Errorf("%w: %s is no marker; remove it, and the newest file will tell the time", replica.ErrDamaged, at)
	}
	return m, true, nil
}

func unavailable(verb string, at s3client.Location, err error) error {
	return fmt.Errorf("%w: %s %s: %w", replica.ErrUnavailable, verb, at, s3client.Explain(err))
}

// isEmptyDir reports whether a path is a directory without anything in it.
func isEmptyDir(path string) (bool, error) {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() {
		return false, err
	}
	dir, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	if _, err := dir.Readdirnames(1); !errors.Is(err, io.EOF) {
		return false, err
	}
	return true, nil
}
