package jobs

import (
	"context"
	"io"
	"time"
)

// Objects is an object store at the place where jobs live, such as a bucket and a
// prefix in it. Keys are relative to that place. It is safe for concurrent use.
// All errors but those named below wrap ErrUnavailable and say what the operator
// can do; no call blocks for ever: a store that hangs is ErrUnavailable too.
type Objects interface {
	// Get opens an object, or the part of it that the span names, as far as there is one. ErrMissing says that there is none; the end of the
	// context ends the reading too. The caller closes the body.
	Get(ctx context.Context, key string, span Span) (Object, error)
	// Put writes an object whole or not at all, and returns its tag. Where the condition does not hold it changes
	// nothing and returns ErrRefused. A failed call may have written.
	Put(ctx context.Context, key string, body io.ReadSeeker, when Condition) (tag string, err error)
	// List returns at most limit keys with the prefix that come after the key after (which need not exist), in the
	// order of their bytes. A limit of 0 is the store's own, at most 1000. Fewer keys than the limit do not mean the
	// end; none do.
	List(ctx context.Context, prefix, after string, limit int) ([]string, error)
	// Folders returns the first parts of the keys that have more than one, after the given one, in order; none is the end.
	Folders(ctx context.Context, after string) ([]string, error)
	// Delete removes objects; those that are not there are fine.
	Delete(ctx context.Context, keys []string) error
	// String names the place to people, such as s3://batches/fun-asr.
	String() string
}

// Span is a part of an object; the zero value is all of it.
type Span struct {
	Offset int64
	// Length of 0 reaches to the end.
	Length int64
}

// Object is an open object.
type Object struct {
	Body io.ReadCloser
	// Tag changes with the content: S3's ETag.
	Tag string
	// Age is how long ago it was written, by the store's own clock, in whole seconds.
	Age time.Duration
}

// Condition is what must hold for a write; the zero value writes in any case.
type Condition struct {
	// Absent demands that there is no such object (If-None-Match: *).
	Absent bool
	// Tag, where given, demands that the object still has it (If-Match).
	Tag string
}
