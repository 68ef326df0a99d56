package s3access_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/s3access"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/secrets"
	"github.com/understudy-dr/understudy/runbooks"
)

func TestOf(t *testing.T) {
	t.Setenv("UNDERSTUDY_TEST_ACCESS", "access")
	t.Setenv("UNDERSTUDY_TEST_SECRET", "secret")
	clients := s3client.New(map[string]runbooks.S3{
		"west": {
			Endpoint: "http://west:9000", Region: "us-west-2", PathStyle: true, Buckets: []string{"models-west"},
			AccessKey: runbooks.Secret{Env: "UNDERSTUDY_TEST_ACCESS"}, SecretKey: runbooks.Secret{Env: "UNDERSTUDY_TEST_SECRET"},
		},
		"default": {Region: "eu-1", AccessKey: runbooks.Secret{Env: "UNDERSTUDY_TEST_ABSENT"}},
	})
	a, err := s3access.Of(t.Context(), clients, "models-west")
	if err != nil {
		t.Fatal(err)
	}
	if a.Bucket != "models-west" || a.Endpoint != "http://west:9000" || a.Region != "us-west-2" || !a.PathStyle || a.Temporary() ||
		a.Credentials.AccessKeyID != "access" || a.Credentials.SecretAccessKey != "secret" {
		t.Errorf("got %+v", a)
	}
	if _, err := s3access.Of(t.Context(), clients, "models"); !errors.Is(err, s3access.ErrCredentials) || !errors.Is(err, secrets.ErrUnresolved) {
		t.Errorf("without credentials: %v", err)
	}
}

// fixed is a client with credentials that a test chose.
type fixed aws.Credentials

func (f fixed) For(string) (*s3.Client, error) {
	return s3.New(s3.Options{Region: "us-east-1", Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials(f), nil })}), nil
}

// The AWS SDK itself reads what other tools are given.
func TestTheFileIsReadByTheAWSTools(t *testing.T) {
	for _, token := range []string{"", "a-token/with+signs=="} {
		a, err := s3access.Of(t.Context(), fixed{AccessKeyID: "id", SecretAccessKey: "sec/ret+=", SessionToken: token}, "b")
		if err != nil || a.Temporary() != (token != "") {
			t.Fatalf("%+v, %v", a, err)
		}
		file := filepath.Join(t.TempDir(), "credentials")
		if err := os.WriteFile(file, a.File(), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("AWS_ACCESS_KEY_ID", "somebody-else")
		for _, entry := range a.Environment(file) {
			if strings.HasPrefix(entry, "AWS_ACCESS_KEY_ID=") {
				t.Error("credentials of somebody else are passed on")
			}
			if name, value, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "AWS_") {
				t.Setenv(name, value)
			}
		}
		t.Setenv("AWS_ACCESS_KEY_ID", "")
		loaded, err := config.LoadDefaultConfig(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := loaded.Credentials.Retrieve(t.Context())
		if err != nil || got.AccessKeyID != "id" || got.SecretAccessKey != "sec/ret+=" || got.SessionToken != token || loaded.Region != "us-east-1" {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}

func TestALineBreakDoesNotBecomeAnotherEntry(t *testing.T) {
	if _, err := s3access.Of(t.Context(), fixed{AccessKeyID: "id", SecretAccessKey: "secret\nrole_arn = evil"}, "b"); !errors.Is(err, s3access.ErrCredentials) || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want ErrCredentials without the secret", err)
	}
}

func TestBareIsBare(t *testing.T) {
	t.Setenv("UNDERSTUDY_TEST_SECRET", "secret")
	t.Setenv("AWS_PROFILE", "mine")
	t.Setenv("HTTPS_PROXY", "http://proxy")
	bare := s3access.Bare()
	if !slices.Contains(bare, "HTTPS_PROXY=http://proxy") || slices.ContainsFunc(bare, func(e string) bool { return strings.HasPrefix(e, "UNDERSTUDY") || strings.HasPrefix(e, "AWS_P") }) {
		t.Errorf("got %q", bare)
	}
}
