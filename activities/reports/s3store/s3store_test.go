package s3store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/activities/reports/reportstest"
	"github.com/understudy-dr/understudy/activities/reports/s3store"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
)

const bucket = "reports"

func TestStore(t *testing.T) {
	server := harnesstest.MinIO(t, bucket)
	client, err := server.Clients().For(bucket)
	if err != nil {
		t.Fatal(err)
	}
	fixtures := 0
	reportstest.Run(t, func(t *testing.T) func() reports.Store {
		fixtures++
		at := s3client.Location{Bucket: bucket, Key: fmt.Sprintf("site/%d", fixtures)}
		return func() reports.Store { return s3store.New(client, at) }
	})
	t.Run("the whole bucket", func(t *testing.T) {
		store := s3store.New(client, s3client.Location{Bucket: bucket})
		if err := store.Write(t.Context(), "fun-asr/7.md", []byte("# x")); err != nil {
			t.Fatal(err)
		}
		if names, err := store.List(t.Context(), "fun-asr/"); err != nil || len(names) != 1 || names[0] != "fun-asr/7.md" {
			t.Errorf("listed %q, %v", names, err)
		}
		out, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String("fun-asr/7.md")})
		if err != nil || !strings.HasPrefix(aws.ToString(out.ContentType), "text/markdown") {
			t.Errorf("content type %q, %v", aws.ToString(out.ContentType), err)
		}
	})
	t.Run("a bucket that is not there", func(t *testing.T) {
		store := s3store.New(client, s3client.Location{Bucket: "absent"})
		if _, err := store.Read(t.Context(), "a"); err == nil || errors.Is(err, reports.ErrNone) {
			t.Errorf("read: %v", err)
		}
		if _, err := store.List(t.Context(), ""); err == nil {
			t.Error("list: no error")
		}
		if err := store.Write(t.Context(), "a", nil); err == nil {
			t.Error("write: no error")
		}
	})
	t.Run("hang", func(t *testing.T) {
		store := s3store.New(client, s3client.Location{Bucket: bucket, Key: "hang"})
		if err := store.Write(t.Context(), "a", []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := server.Freeze(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err := store.Read(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
		server.Thaw()
		if got, err := store.Read(t.Context(), "a"); err != nil || string(got) != "x" {
			t.Errorf("afterwards: %q, %v", got, err)
		}
	})
}
