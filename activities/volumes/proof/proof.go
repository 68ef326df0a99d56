// Package proof proves a model in its bucket, long before a machine needs it.
//
// A listing shows what is missing, what is too much, and what has another size.
// What it does not show is a byte that has changed. So each object is read and
// hashed once, and what it was then is written down together with its ETag: as
// long as a store shows the same ETag, it is the same object. After the first
// time, a look at a model of gigabytes costs one listing.
package proof

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/atomicfile"
	"github.com/understudy-dr/understudy/activities/s3access"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/activities/volumes/internal/source"
	"github.com/understudy-dr/understudy/runbooks"
)

// Config is what a book needs.
type Config struct {
	Clients s3access.Clients
	// File is where the book is kept.
	File string
}

// Book knows the hashes of objects. It is safe for concurrent use.
type Book struct {
	Config

	mu     sync.Mutex
	read   bool
	hashes map[string]hashed
	// turns lets one look at a volume wait for another.
	turns map[string]*sync.Mutex
}

// hashed is what an object was when it was read.
type hashed struct {
	ETag string    `json:"etag"`
	Sum  string    `json:"sha256"`
	At   time.Time `json:"at"`
}

var _ volumes.Prover = (*Book)(nil)

// New makes a book. It reads nothing yet.
func New(c Config) *Book { return &Book{Config: c, turns: map[string]*sync.Mutex{}} }

// Prove looks at a volume, and hashes what was never hashed for as long as it
// may. Errors are volumes.ErrUnavailable, ErrRefused or ErrWrong, which names the
// file and both hashes. It changes nothing in the store.
func (b *Book) Prove(ctx context.Context, v runbooks.Volume, within time.Duration) (volumes.Proof, error) {
	turn := b.turn(v.Source)
	turn.Lock()
	defer turn.Unlock()
	over := time.Now().Add(within)
	src, err := source.Look(ctx, b.Clients, v)
	if err != nil {
		return volumes.Proof{}, err
	}
	p := volumes.Proof{Files: len(src.Objects), Bytes: src.Bytes}
	if p.Version, err = src.Version(ctx); err != nil {
		return p, err
	}
	for i, o := range src.Objects {
		known, err := b.lookUp(src.At.Bucket + "/" + o.Key)
		if err != nil {
			return p, err
		}
		if known.ETag != o.ETag || o.ETag == "" {
			if time.Now().After(over) {
				continue // at the next look
			}
			if known, err = hash(ctx, src, o); err != nil {
				return p, err
			}
			if err := b.keep(src.At.Bucket+"/"+o.Key, known); err != nil {
				return p, err
			}
		}
		if want := src.Manifest.Entries[i].Sum; known.Sum != want {
			return p, fmt.Errorf("%w: %s of %s has sha256 %s, the manifest says %s", volumes.ErrWrong, o.Path, src.At, known.Sum, want)
		}
		p.Proven += o.Size
	}
	return p, nil
}

// hash reads one object, as it is under the ETag that was listed.
func hash(ctx context.Context, src *source.Source, o source.Object) (hashed, error) {
	in := &s3.GetObjectInput{Bucket: aws.String(src.At.Bucket), Key: aws.String(o.Key)}
	if o.ETag != "" {
		in.IfMatch = aws.String(o.ETag)
	}
	out, err := src.Client.GetObject(ctx, in)
	if err != nil {
		return hashed{}, source.Explain("read "+src.At.Join(o.Path).String(), err)
	}
	defer out.Body.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, out.Body); err != nil {
		return hashed{}, source.Explain("read "+src.At.Join(o.Path).String(), err)
	}
	return hashed{ETag: o.ETag, Sum: hex.EncodeToString(sum.Sum(nil)), At: time.Now().UTC()}, nil
}

func (b *Book) turn(volume string) *sync.Mutex {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.turns[volume] == nil {
		b.turns[volume] = &sync.Mutex{}
	}
	return b.turns[volume]
}

// lookUp finds an object in the book, which is read once.
func (b *Book) lookUp(object string) (hashed, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.read {
		text, err := os.ReadFile(b.File)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return hashed{}, fmt.Errorf("read the book of proven models: %w", err)
		}
		b.hashes = map[string]hashed{}
		if json.Unmarshal(text, &b.hashes) != nil {
			b.hashes = map[string]hashed{} // a torn one is written anew
		}
		b.read = true
	}
	return b.hashes[object], nil
}

// keep writes an object into the book.
func (b *Book) keep(object string, h hashed) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hashes[object] = h
	text, err := json.MarshalIndent(b.hashes, "", " ")
	if err == nil {
		err = atomicfile.Write(b.File, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the book of proven models: %w", err)
	}
	return nil
}
