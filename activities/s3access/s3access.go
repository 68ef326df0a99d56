// Package s3access tells other programs how to reach a bucket: s3fs, mount-s3,
// litestream speak S3 themselves.
//
// They get the endpoint of the site file and the credentials of the moment. A
// credential is handed over in a file that only its owner may read, never on a
// command line, which every user of the machine sees.
package s3access

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// profile is the name under which a credentials file holds its only entry.
const profile = "understudy"

// passed are the variables that such a program gets of this process's environment. Whatever else is there, secrets
// of the site file among it, is none of its business.
var passed = []string{
	"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE",
}

// awsCertificates names the file of the authorities that the AWS tools trust. Some programs (litestream) do not start
// where it is set; they get it under the names that all of them understand.
const awsCertificates = "AWS_CA_BUNDLE"

// Clients finds the client of a bucket; *s3client.Clients is one.
type Clients interface {
	For(bucket string) (*s3.Client, error)
}

// Access is how a bucket is reached.
type Access struct {
	Bucket string
	// Endpoint is a URL, empty for AWS.
	Endpoint  string
	Region    string
	PathStyle bool
	// Credentials are never empty. Those of a role end (see Temporary).
	Credentials aws.Credentials
}

// ErrCredentials means that there are no credentials, or that they cannot be handed over.
var ErrCredentials = errors.New("no credentials for the bucket")

// Of returns the access to a bucket. It may ask the machine's metadata service for credentials, and ends with the context.
func Of(ctx context.Context, clients Clients, bucket string) (Access, error) {
	client, err := clients.For(bucket)
	if err != nil {
		return Access{}, err
	}
	o := client.Options()
	a := Access{Bucket: bucket, Endpoint: aws.ToString(o.BaseEndpoint), Region: o.Region, PathStyle: o.UsePathStyle}
	if o.Credentials == nil {
		return a, fmt.Errorf("%w %s", ErrCredentials, bucket)
	}
	if a.Credentials, err = o.Credentials.Retrieve(ctx); err != nil {
		return a, fmt.Errorf("%w %s: %w", ErrCredentials, bucket, err)
	}
	if c := a.Credentials; strings.ContainsAny(c.AccessKeyID+c.SecretAccessKey+c.SessionToken, "\r\n") {
		return a, fmt.Errorf("%w %s: one has a line break in it", ErrCredentials, bucket)
	}
	return a, nil
}

// Temporary reports whether the credentials end by themselves, with a role's session.
func (a Access) Temporary() bool { return a.Credentials.SessionToken != "" }

// File is the content of a credentials file in the format of the AWS tools.
func (a Access) File() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "[%s]\naws_access_key_id = %s\naws_secret_access_key = %s\n", profile, a.Credentials.AccessKeyID, a.Credentials.SecretAccessKey)
	if a.Temporary() {
		fmt.Fprintf(&b, "aws_session_token = %s\n", a.Credentials.SessionToken)
	}
	return []byte(b.String())
}

// Environment is a small one, with the credentials file as the only credentials.
func (a Access) Environment(file string) []string {
	return append(Bare(), "AWS_SHARED_CREDENTIALS_FILE="+file, "AWS_CONFIG_FILE="+os.DevNull, "AWS_PROFILE="+profile, "AWS_REGION="+a.Region)
}

// Bare is a small environment, without credentials.
func Bare() []string {
	var kept []string
	for _, name := range passed {
		if value, set := os.LookupEnv(name); set {
			kept = append(kept, name+"="+value)
		}
	}
	if file := os.Getenv(awsCertificates); file != "" {
		kept = append(kept, "SSL_CERT_FILE="+file, "CURL_CA_BUNDLE="+file)
	}
	return kept
}
