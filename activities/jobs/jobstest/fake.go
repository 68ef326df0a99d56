package jobstest

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/runbooks"
)

// InMemory starts an S3 server in this process, with conditional writes, and
// returns a client of it and its endpoint as a site file describes it.
func InMemory(t testing.TB, buckets ...string) (*s3.Client, runbooks.S3) {
	t.Helper()
	server := httptest.NewServer(gofakes3.New(s3mem.New(), gofakes3.WithTimeSkewLimit(0)).Server())
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	key := runbooks.Secret{File: file}
	site := runbooks.S3{Endpoint: server.URL, Region: "us-east-1", PathStyle: true, AccessKey: key, SecretKey: key}
	client, err := s3client.New(map[string]runbooks.S3{"default": site}).For("any")
	if err != nil {
		t.Fatal(err)
	}
	for _, bucket := range buckets {
		if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
			t.Fatal(err)
		}
	}
	return client, site
}
