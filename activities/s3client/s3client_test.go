package s3client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/secrets"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
)

const bucket = "things"

func TestObjectsOfARealServer(t *testing.T) {
	server := harnesstest.MinIO(t, bucket)
	client, err := server.Clients().For(bucket)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	put := func(match, noneMatch *string) error {
		_, err := client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: aws.String(bucket), Key: aws.String("a/b"), Body: strings.NewReader("content"),
			IfMatch: match, IfNoneMatch: noneMatch,
		})
		return err
	}
	get := func(bucket, key string) error {
		out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
		if err == nil {
			out.Body.Close()
		}
		return err
	}
	head := func(bucket, key string) error {
		_, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
		return err
	}

	if err := put(aws.String(`"0123"`), nil); !s3client.Missing(err) {
		t.Errorf("replacing what is not there: %v, want Missing", err)
	}
	if err := put(nil, aws.String("*")); err != nil {
		t.Fatal(err)
	}
	if err := put(nil, aws.String("*")); !s3client.Refused(err) || s3client.Status(err) != http.StatusPreconditionFailed {
		t.Errorf("making what is there: %v, want Refused", err)
	}
	if err := put(aws.String(`"0123"`), nil); !s3client.Refused(err) {
		t.Errorf("replacing something else: %v, want Refused", err)
	}
	if err := get(bucket, "a/b"); err != nil {
		t.Error(err)
	}
	for name, test := range map[string]struct {
		err     error
		missing bool
	}{
		"object":      {get(bucket, "a/absent"), true},
		"head":        {head(bucket, "a/absent"), true},
		"bucket":      {get("absent", "a/b"), false},
		"no error":    {nil, false},
		"other error": {io.ErrUnexpectedEOF, false},
	} {
		if s3client.Missing(test.err) != test.missing {
			t.Errorf("%s: Missing is %v for %v", name, !test.missing, test.err)
		}
	}
}

func TestARotatedCredentialIsToldByReferenceOnly(t *testing.T) {
	t.Setenv("UNDERSTUDY_TEST_KEY", "the-key")
	client, err := s3client.New(map[string]runbooks.S3{"default": {
		Endpoint: "http://127.0.0.1:1", AccessKey: runbooks.Secret{Env: "UNDERSTUDY_TEST_KEY"}, SecretKey: runbooks.Secret{File: "/nowhere/secret"},
	}}).For(bucket)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.ListBuckets(t.Context(), &s3.ListBucketsInput{})
	if !errors.Is(err, secrets.ErrUnresolved) || !strings.Contains(err.Error(), "/nowhere/secret") || strings.Contains(err.Error(), "the-key") {
		t.Errorf("got %v", err)
	}
}

func TestEachBucketAtItsEndpoint(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	asked := make(chan string, 1)
	serve := func(name string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, region, _ := strings.Cut(r.Header.Get("Authorization"), "/")
			asked <- name + " " + r.URL.Path + " " + strings.Split(region, "/")[1]
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	t.Setenv("UNDERSTUDY_TEST_KEY", "key")
	key := runbooks.Secret{Env: "UNDERSTUDY_TEST_KEY"}
	clients := s3client.New(map[string]runbooks.S3{
		"default": {Endpoint: serve("default"), PathStyle: true, AccessKey: key, SecretKey: key},
		"west":    {Endpoint: serve("west"), PathStyle: true, AccessKey: key, SecretKey: key, Buckets: []string{"models", "history"}, Region: "west-1"},
	})
	for bucket, want := range map[string]string{
		"models":  "west /models/k west-1",
		"history": "west /history/k west-1",
		"other":   "default /other/k " + s3client.DefaultRegion,
	} {
		client, err := clients.For(bucket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String("k")}); err != nil {
			t.Fatal(err)
		}
		if got := <-asked; got != want {
			t.Errorf("bucket %s: asked %q, want %q", bucket, got, want)
		}
	}
	first, _ := clients.For("models")
	second, _ := clients.For("history")
	if first != second {
		t.Error("two buckets of one endpoint have two clients")
	}
}

func TestAMuteServerEndsWithTheContext(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel, never answers
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	t.Setenv("UNDERSTUDY_TEST_KEY", "key")
	key := runbooks.Secret{Env: "UNDERSTUDY_TEST_KEY"}
	client, err := s3client.New(map[string]runbooks.S3{"default": {
		Endpoint: "http://" + listener.Addr().String(), AccessKey: key, SecretKey: key,
	}}).For(bucket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("k"), Body: bytes.NewReader([]byte("x"))})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's deadline", err)
	}
}

func TestExplain(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`)
	}))
	defer server.Close()
	t.Setenv("UNDERSTUDY_TEST_KEY", "key")
	key := runbooks.Secret{Env: "UNDERSTUDY_TEST_KEY"}
	client, err := s3client.New(map[string]runbooks.S3{"default": {Endpoint: server.URL, AccessKey: key, SecretKey: key}}).For(bucket)
	if err != nil {
		t.Fatal(err)
	}
	_, denied := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String("k")})
	explained := s3client.Explain(denied)
	if !strings.Contains(explained.Error(), "s3:ListBucket") || !errors.Is(explained, denied) || s3client.Missing(explained) {
		t.Errorf("got %v", explained)
	}
	if got := s3client.Explain(io.EOF); got != io.EOF {
		t.Errorf("an error without a hint became %v", got)
	}
}
