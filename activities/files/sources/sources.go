// Package sources opens files wherever they are: on this machine, on the web, in
// an object store.
package sources

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/files"
	"github.com/understudy-dr/understudy/activities/s3client"
)

// The beginnings of references that are no paths.
const (
	schemeHTTP  = "http://"
	schemeHTTPS = "https://"
	schemeS3    = "s3://"
)

// maxRedirects bounds how often a web server may send elsewhere.
const maxRedirects = 5

var _ files.Opener = (*Sources)(nil)

// Sources reads each kind of reference from where it is. It is safe for
// concurrent use.
type Sources struct {
	s3   *s3client.Clients
	http *http.Client

	mu      sync.Mutex
	reading map[string]*localRead // by path
}

// localRead is a read of a path that may never end, where a mount is dead.
type localRead struct {
	done    chan struct{}
	content []byte
	err     error
}

// New returns an opener of all kinds of references. It does not connect.
func New(clients *s3client.Clients) *Sources {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.IdleConnTimeout = 30 * time.Second
	return &Sources{
		s3:      clients,
		http:    &http.Client{Transport: transport, CheckRedirect: checkRedirect},
		reading: map[string]*localRead{},
	}
}

// Read reads a file. Errors name the reference without the query of a URL,
// which may hold a signature.
func (s *Sources) Read(ctx context.Context, ref string) ([]byte, error) {
	var (
		content []byte
		err     error
	)
	path, local := files.Local(ref)
	switch {
	case local && !strings.HasPrefix(path, "/") && path != ref:
		err = errors.New("a file URL has three slashes: file:///path")
	case local:
		content, err = s.fromPath(ctx, path)
	case strings.HasPrefix(ref, schemeS3):
		content, err = s.fromS3(ctx, ref)
	case strings.HasPrefix(ref, schemeHTTP), strings.HasPrefix(ref, schemeHTTPS):
		content, err = s.fromHTTP(ctx, ref)
	default:
		err = errors.New("it is no path, http, https, file or s3 URL")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", files.Bare(ref), err)
	}
	return content, nil
}

// fromPath reads a file of this machine, which may stand on a dead mount, where
// a read never ends. One such read may hang for each path; whoever comes after
// it waits for the same one.
func (s *Sources) fromPath(ctx context.Context, path string) ([]byte, error) {
	s.mu.Lock()
	read := s.reading[path]
	if read == nil {
		read = &localRead{done: make(chan struct{})}
		s.reading[path] = read
		go func() {
			read.content, read.err = readPath(path)
			s.mu.Lock()
			delete(s.reading, path)
			s.mu.Unlock()
			close(read.done)
		}()
	}
	s.mu.Unlock()
	select {
	case <-read.done:
		return read.content, read.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", files.ErrUnavailable, ctx.Err())
	}
}

func readPath(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, files.ErrMissing
	case err != nil:
		return nil, fmt.Errorf("%w: %w", files.ErrUnavailable, err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: it is no regular file", files.ErrUnavailable)
	case info.Size() > files.MaxSize:
		return nil, files.ErrTooLarge
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", files.ErrUnavailable, err)
	}
	defer f.Close()
	return readAll(f)
}

func (s *Sources) fromS3(ctx context.Context, ref string) ([]byte, error) {
	at, err := s3client.ParseURL(ref)
	if err != nil {
		return nil, err
	}
	if at.Key == "" {
		return nil, errors.New("it names a bucket and no object in it")
	}
	client, err := s.s3.For(at.Bucket)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", files.ErrUnavailable, err)
	}
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(at.Bucket), Key: aws.String(at.Key)})
	if s3client.Missing(err) {
		return nil, files.ErrMissing
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", files.ErrUnavailable, s3client.Explain(err))
	}
	defer out.Body.Close()
	if aws.ToInt64(out.ContentLength) > files.MaxSize {
		return nil, files.ErrTooLarge
	}
	return readAll(out.Body)
}

func (s *Sources) fromHTTP(ctx context.Context, ref string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, ref, nil)
	if err != nil {
		return nil, errors.New("it is no usable URL")
	}
	answer, err := s.http.Do(request)
	if err != nil {
		// The error of the client repeats the URL with its query; what is inside does not.
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err
		}
		return nil, fmt.Errorf("%w: %w", files.ErrUnavailable, err)
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusNotFound, answer.StatusCode == http.StatusGone:
		return nil, fmt.Errorf("%w: %s", files.ErrMissing, answer.Status)
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%w: %s", files.ErrUnavailable, answer.Status)
	case answer.ContentLength > files.MaxSize:
		return nil, files.ErrTooLarge
	}
	return readAll(answer.Body)
}

// checkRedirect follows redirects, as model stores use them, but never from https to http.
func checkRedirect(next *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("redirected more than %d times", maxRedirects)
	}
	if via[0].URL.Scheme == "https" && next.URL.Scheme != "https" {
		return errors.New("redirected from https to plain http")
	}
	next.Header.Del("Referer") // it would tell the other host our query
	return nil
}

// readAll reads a whole file within its limit.
func readAll(r io.Reader) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, files.MaxSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", files.ErrUnavailable, err)
	case len(content) > files.MaxSize:
		return nil, files.ErrTooLarge
	case len(content) == 0:
		return nil, files.ErrMissing
	default:
		return content, nil
	}
}
