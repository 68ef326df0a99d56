// Package audio opens the audio of batch items: files of this machine, and
// objects in S3, which are copied to disk first, because cutting them needs a file
// and a server that is slow to take them must not hold the object store's
// connection.
//
// Manifests come from people, and name files. Nothing is opened that does not lie
// below one of the roots.
package audio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/s3client"
)

const (
	// DefaultMaxBytes is the largest file that is taken, in bytes.
	DefaultMaxBytes = 4 << 30
	// copies is the folder of what is copied from S3; leftovers there belong to runners that were killed.
	copies = "understudy-audio"
	// leftover is how old a copy is that nobody uses any more.
	leftover = 24 * time.Hour
	// copyTime bounds the copying of one object.
	copyTime = 30 * time.Minute

	schemeS3 = "s3://"
)

// Options describe an opener.
type Options struct {
	// Clients are for s3:// audio.
	Clients *s3client.Clients
	// Roots are what may be read: absolute paths, s3://bucket/prefix, or s3:// for every bucket that the credentials
	// open. Without any nothing is.
	Roots []string
	// MaxBytes is the largest file that is taken; default DefaultMaxBytes.
	MaxBytes int64
	// Dir is where copies lie; default the temporary directory.
	Dir string
}

var _ jobs.Opener = (*Opener)(nil)

// Opener opens audio. It is safe for concurrent use.
type Opener struct{ options Options }

// New makes an opener, and removes what killed ones left behind a day ago.
func New(options Options) *Opener {
	if options.MaxBytes == 0 {
		options.MaxBytes = DefaultMaxBytes
	}
	if options.Dir == "" {
		options.Dir = os.TempDir()
	}
	options.Dir = filepath.Join(options.Dir, copies)
	entries, _ := os.ReadDir(options.Dir) // where there is none, there are no leftovers
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > leftover {
			os.Remove(filepath.Join(options.Dir, entry.Name()))
		}
	}
	return &Opener{options: options}
}

// Open opens audio by an absolute path or an s3:// URL.
func (o *Opener) Open(ctx context.Context, ref string) (jobs.File, error) {
	if strings.HasPrefix(ref, schemeS3) {
		return o.fromS3(ctx, ref)
	}
	type opened struct {
		file jobs.File
		err  error
	}
	done := make(chan opened, 1)
	go func() { // a dead mount never answers
		file, err := o.fromDisk(ref)
		done <- opened{file, err}
	}()
	select {
	case d := <-done:
		return d.file, d.err
	case <-ctx.Done():
		return jobs.File{}, fmt.Errorf("%w: %s: %w", jobs.ErrUnavailable, ref, context.Cause(ctx))
	}
}

func (o *Opener) fromDisk(name string) (jobs.File, error) {
	if !o.below(path.Clean(name)) {
		return jobs.File{}, outside(name)
	}
	// Links may lead out of what may be read.
	resolved, err := filepath.EvalSymlinks(name)
	for _, none := range []error{fs.ErrNotExist, syscall.ENOTDIR, syscall.ENAMETOOLONG, syscall.ELOOP} {
		if errors.Is(err, none) {
			return jobs.File{}, refused(name, "there is no such file")
		}
	}
	if err == nil && !o.below(resolved) {
		return jobs.File{}, outside(name)
	}
	var info fs.FileInfo
	if err == nil {
		info, err = os.Stat(resolved)
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return jobs.File{}, refused(name, "permission denied")
	case err != nil:
		return jobs.File{}, fmt.Errorf("%w: %s: %w", jobs.ErrUnavailable, name, err)
	case !info.Mode().IsRegular():
		return jobs.File{}, refused(name, "it is no regular file")
	case info.Size() > o.options.MaxBytes:
		return jobs.File{}, o.tooLarge(name, info.Size())
	}
	// Whether it can be read shows here, not in the middle of a request.
	file, err := os.Open(resolved)
	if errors.Is(err, fs.ErrPermission) {
		return jobs.File{}, refused(name, "permission denied")
	}
	if err != nil {
		return jobs.File{}, fmt.Errorf("%w: %s: %w", jobs.ErrUnavailable, name, err)
	}
	file.Close()
	return jobs.File{Path: resolved, Size: info.Size()}, nil
}

func (o *Opener) fromS3(ctx context.Context, ref string) (jobs.File, error) {
	if !o.below(ref) {
		return jobs.File{}, outside(ref)
	}
	at, err := s3client.ParseURL(ref)
	if err != nil {
		return jobs.File{}, refused(ref, err.Error())
	}
	if at.Key == "" || o.options.Clients == nil {
		return jobs.File{}, refused(ref, "it names no object that could be read here")
	}
	client, err := o.options.Clients.For(at.Bucket)
	if err != nil {
		return jobs.File{}, fmt.Errorf("%w: %w", jobs.ErrUnavailable, err)
	}
	ctx, cancel := context.WithTimeout(ctx, copyTime)
	defer cancel()
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(at.Bucket), Key: aws.String(at.Key)})
	switch {
	case s3client.Missing(err):
		return jobs.File{}, refused(ref, "there is no such object")
	case s3client.Status(err) == http.StatusForbidden:
		// Without the right to list, S3 says so of what is missing too; and archived objects are forbidden as well.
		return jobs.File{}, fmt.Errorf("%w: %s: %w", jobs.ErrNoAudio, ref, s3client.Explain(err))
	case err != nil:
		return jobs.File{}, fmt.Errorf("%w: %s: %w", jobs.ErrUnavailable, ref, err)
	}
	defer out.Body.Close()
	if size := aws.ToInt64(out.ContentLength); size > o.options.MaxBytes {
		return jobs.File{}, o.tooLarge(ref, size)
	}
	return o.keep(ref, path.Ext(at.Key), out.Body, aws.ToInt64(out.ContentLength))
}

// keep copies an object to disk.
func (o *Opener) keep(ref, extension string, from io.Reader, size int64) (jobs.File, error) {
	if err := os.MkdirAll(o.options.Dir, 0o700); err != nil {
		return jobs.File{}, fmt.Errorf("%w: copy %s: %w", jobs.ErrUnavailable, ref, err)
	}
	if strings.ContainsFunc(extension, func(r rune) bool { return r <= ' ' || r > '~' || r == '*' || r == '/' }) || len(extension) > 10 {
		extension = ""
	}
	file, err := os.CreateTemp(o.options.Dir, "*"+extension)
	if err != nil {
		return jobs.File{}, fmt.Errorf("%w: copy %s: %w", jobs.ErrUnavailable, ref, err)
	}
	n, err := io.Copy(file, io.LimitReader(from, o.options.MaxBytes+1))
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes came of %d", n, size)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		os.Remove(file.Name())
		return jobs.File{}, fmt.Errorf("%w: copy %s: %w", jobs.ErrUnavailable, ref, err)
	}
	return jobs.File{Path: file.Name(), Size: n, Close: func() { os.Remove(file.Name()) }}, nil
}

// below reports whether something lies below a root.
func (o *Opener) below(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return false
		}
	}
	for _, root := range o.options.Roots {
		if root == schemeS3 && strings.HasPrefix(name, schemeS3) {
			return true
		}
		// A root may itself be a link.
		for _, r := range []string{root, resolvedRoot(root)} {
			if r != "" && strings.HasPrefix(name, strings.TrimSuffix(r, "/")+"/") {
				return true
			}
		}
	}
	return false
}

func resolvedRoot(root string) string {
	if strings.HasPrefix(root, schemeS3) {
		return ""
	}
	resolved, err := filepath.EvalSymlinks(root)
	if err != nil {
		return ""
	}
	return resolved
}

func outside(ref string) error {
	return refused(ref, "it lies outside of what this runner may read")
}

func (o *Opener) tooLarge(ref string, size int64) error {
	return refused(ref, fmt.Sprintf("it has %d bytes, and %d is the most that is taken", size, o.options.MaxBytes))
}

func refused(ref, why string) error { return fmt.Errorf("%w: %s: %s", jobs.ErrNoAudio, ref, why) }
