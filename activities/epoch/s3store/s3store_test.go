package s3store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/epoch"
	"github.com/understudy-dr/understudy/activities/epoch/epochtest"
	"github.com/understudy-dr/understudy/activities/epoch/s3store"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
)

const bucket = "epochs"

func TestStore(t *testing.T) {
	server := harnesstest.MinIO(t, bucket)
	client, err := server.Clients().For(bucket)
	if err != nil {
		t.Fatal(err)
	}
	fixtures := 0
	epochtest.Run(t, func(t *testing.T) epochtest.Fixture {
		fixtures++
		at := s3client.Location{Bucket: bucket, Key: fmt.Sprintf("site/%d", fixtures)}
		return epochtest.Fixture{
			Open: func() epoch.Store { return s3store.New(client, at) },
			Stop: func() {
				if err := server.Freeze(t.Context()); err != nil {
					t.Fatal(err)
				}
			},
			Continue: func() { server.Thaw() },
			Kill:     func() { server.Kill() },
			Restart: func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := server.Restart(ctx); err != nil {
					t.Fatal(err)
				}
			},
			Plant: func(service string, content []byte) {
				_, err := client.PutObject(t.Context(), &s3.PutObjectInput{
					Bucket: aws.String(bucket), Key: aws.String(at.Join(service + ".json").Key), Body: bytes.NewReader(content),
				})
				if err != nil {
					t.Fatal(err)
				}
			},
		}
	})

	t.Run("a bucket that is not there is no empty store", func(t *testing.T) {
		store := s3store.New(client, s3client.Location{Bucket: "absent"})
		if _, err := store.Read(t.Context(), "fun-asr"); !errors.Is(err, epoch.ErrUnavailable) || errors.Is(err, epoch.ErrNone) {
			t.Errorf("read: %v", err)
		}
		if err := store.Write(t.Context(), record(1, "a")); !errors.Is(err, epoch.ErrUnavailable) || errors.Is(err, epoch.ErrUnsafe) {
			t.Errorf("write: %v", err)
		}
	})
	t.Run("conditional writes are proved once", func(t *testing.T) {
		counting := &wrapped{API: client}
		store := s3store.New(counting, s3client.Location{Bucket: bucket, Key: "counted"})
		for range 2 {
			if err := store.Verify(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		proof := counting.puts.Load()
		for n := range int64(5) {
			if err := store.Write(t.Context(), record(n+1, "a")); err != nil {
				t.Fatal(err)
			}
		}
		if got := counting.puts.Load() - proof; got != 5 {
			t.Errorf("5 writes took %d puts", got)
		}
	})
	t.Run("a store that ignores conditions is refused", func(t *testing.T) {
		for name, ignore := range map[string]func(*s3.PutObjectInput){
			"both":          func(in *s3.PutObjectInput) { in.IfMatch, in.IfNoneMatch = nil, nil },
			"If-Match":      func(in *s3.PutObjectInput) { in.IfMatch = nil },
			"If-None-Match": func(in *s3.PutObjectInput) { in.IfNoneMatch = nil },
		} {
			at := s3client.Location{Bucket: bucket, Key: "ignoring " + name}
			err := s3store.New(&wrapped{API: client, before: ignore}, at).Write(t.Context(), record(1, "a"))
			if !errors.Is(err, epoch.ErrUnsafe) || !errors.Is(err, epoch.ErrUnavailable) {
				t.Errorf("%s: %v, want ErrUnsafe", name, err)
			}
			if _, err := s3store.New(client, at).Read(t.Context(), "fun-asr"); !errors.Is(err, epoch.ErrNone) {
				t.Errorf("%s: something was written: %v", name, err)
			}
		}
	})
	t.Run("a write whose answer was lost", func(t *testing.T) {
		at := s3client.Location{Bucket: bucket, Key: "lost"}
		sound := s3store.New(client, at)
		if err := sound.Write(t.Context(), record(1, "a")); err != nil {
			t.Fatal(err)
		}
		var lost atomic.Bool
		forgetful := s3store.New(&wrapped{API: client, after: func(in *s3.PutObjectInput, err error) error {
			if err == nil && strings.HasSuffix(*in.Key, ".json") && lost.CompareAndSwap(false, true) {
				return errors.New("connection reset by peer")
			}
			return err
		}}, at)
		if err := forgetful.Write(t.Context(), record(2, "a")); !errors.Is(err, epoch.ErrUnavailable) || !lost.Load() {
			t.Fatalf("the first try: %v", err)
		}
		if err := forgetful.Write(t.Context(), record(2, "a")); err != nil {
			t.Errorf("repeated: %v", err)
		}
	})
	t.Run("an object that disappears between read and write", func(t *testing.T) {
		at := s3client.Location{Bucket: bucket, Key: "vanishing"}
		if err := s3store.New(client, at).Write(t.Context(), record(1, "a")); err != nil {
			t.Fatal(err)
		}
		var removed atomic.Bool
		store := s3store.New(&wrapped{API: client, before: func(in *s3.PutObjectInput) {
			if strings.HasSuffix(*in.Key, ".json") && removed.CompareAndSwap(false, true) {
				if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: in.Bucket, Key: in.Key}); err != nil {
					t.Error(err)
				}
			}
		}}, at)
		if err := store.Write(t.Context(), record(2, "b")); err != nil || !removed.Load() {
			t.Errorf("%v", err)
		}
	})
}

func record(n int64, holder string) epoch.Record {
	return epoch.Record{Service: "fun-asr", Epoch: n, Holder: holder, At: time.Unix(n, 0).UTC()}
}

// wrapped is a real store with faults in front of it.
type wrapped struct {
	s3store.API
	before func(*s3.PutObjectInput)
	after  func(*s3.PutObjectInput, error) error
	puts   atomic.Int64
}

func (w *wrapped) PutObject(ctx context.Context, in *s3.PutObjectInput, o ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	w.puts.Add(1)
	if w.before != nil {
		w.before(in)
	}
	out, err := w.API.PutObject(ctx, in, o...)
	if w.after != nil {
		err = w.after(in, err)
	}
	return out, err
}
