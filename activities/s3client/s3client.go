// Package s3client makes the S3 clients of Understudy from the endpoints of the
// site file.
//
// Each bucket belongs to one endpoint, the one called default serves the rest.
// A client is made at its first use and shared. An object store that accepts
// connections and never answers is the usual way in which one fails, so every
// wait has an end here; a large body may still stream for as long as it moves.
package s3client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/secrets"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// DefaultRegion is used where neither the site file nor the environment names one. Most S3-compatible stores
	// accept any; AWS itself tells the right one in its error.
	DefaultRegion = "us-east-1"

	// defaultEndpoint is the name of the endpoint that serves the buckets that no other names.
	defaultEndpoint = "default"
	// refreshCredentials is how often credentials that are given by reference are read again, so that rotated ones
	// need no restart. It costs two small files.
	refreshCredentials = 2 * time.Second
	// maxAttempts and maxBackoff keep the SDK's own retries short: whoever calls retries too, and knows for how long.
	maxAttempts = 3
	maxBackoff  = time.Second
)

// Clients are the S3 clients of a site. They are safe for concurrent use.
type Clients struct {
	endpoints map[string]runbooks.S3
	owners    map[string]string // endpoint by bucket

	mu   sync.Mutex
	made map[string]*s3.Client // by endpoint
}

// New takes the endpoints of the site file. Without one called default, buckets
// that no endpoint names are looked for at AWS.
func New(endpoints map[string]runbooks.S3) *Clients {
	c := &Clients{endpoints: endpoints, owners: map[string]string{}, made: map[string]*s3.Client{}}
	for name, endpoint := range endpoints {
		for _, bucket := range endpoint.Buckets {
			c.owners[bucket] = name
		}
	}
	return c
}

// For returns the client for a bucket. It does not connect. Errors come from
// the machine's own AWS configuration files and are tried again next time.
func (c *Clients) For(bucket string) (*s3.Client, error) {
	name, owned := c.owners[bucket]
	if !owned {
		name = defaultEndpoint
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if client := c.made[name]; client != nil {
		return client, nil
	}
	client, err := connect(c.endpoints[name])
	if err != nil {
		return nil, fmt.Errorf("make the client of S3 endpoint %s: %w", name, err)
	}
	c.made[name] = client
	return client, nil
}

func connect(endpoint runbooks.S3) (*s3.Client, error) {
	options := []func(*config.LoadOptions) error{config.WithHTTPClient(patientClient())}
	if !endpoint.AccessKey.IsZero() {
		options = append(options, config.WithCredentialsProvider(byReference(endpoint)))
	}
	loaded, err := config.LoadDefaultConfig(context.Background(), options...)
	if err != nil {
		return nil, err
	}
	if endpoint.Region != "" {
		loaded.Region = endpoint.Region
	}
	if loaded.Region == "" {
		loaded.Region = DefaultRegion
	}
	return s3.NewFromConfig(loaded, func(o *s3.Options) {
		if endpoint.Endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint.Endpoint)
		}
		o.UsePathStyle = endpoint.PathStyle
		o.HTTPSignerV4 = &signer{}
		// Stores other than AWS often reject the checksums that the SDK adds of its own accord, or send none back.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts, o.MaxBackoff = maxAttempts, maxBackoff
		})
		// Frozen, or the SDK would put its own dialer in the place of ours.
		if buildable, ok := o.HTTPClient.(*awshttp.BuildableClient); ok {
			o.HTTPClient = buildable.Freeze()
		}
	}), nil
}

// byReference resolves the credentials when they are needed, not before.
func byReference(endpoint runbooks.S3) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		access, err := secrets.Resolve(endpoint.AccessKey)
		if err != nil {
			return aws.Credentials{}, err
		}
		secret, err := secrets.Resolve(endpoint.SecretKey)
		if err != nil {
			return aws.Credentials{}, err
		}
		return aws.Credentials{
			AccessKeyID: access, SecretAccessKey: secret, Source: "understudy.yaml",
			CanExpire: true, Expires: time.Now().Add(refreshCredentials),
		}, nil
	})
}
