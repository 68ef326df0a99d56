// Package awsclient makes the AWS configurations of Understudy from the section
// aws of the site file: credentials, endpoints, and waits that end.
//
// Credentials may rotate or expire in the middle of an outage. Those that are
// given by reference are read again every minute, and whoever is told by AWS
// that they are not accepted has all of them read again with [Account.Reload].
package awsclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"

	"github.com/understudy-dr/understudy/activities/secrets"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// dialTimeout and tlsTimeout bound the way to an endpoint; one that needs longer is as good as dead.
	dialTimeout = 3 * time.Second
	tlsTimeout  = 5 * time.Second
	// keysLive is how long credentials by reference are used before they are read again, so that rotated ones need
	// no restart.
	keysLive = time.Minute
	// defaultRegion is for services that have none.
	defaultRegion = "us-east-1"
)

// ErrCredentials means that there are no credentials, or none that can be read.
// The error that wraps it says where they were looked for.
var ErrCredentials = errors.New("no AWS credentials")

// Account is how AWS is reached. It is safe for concurrent use.
type Account struct {
	site runbooks.AWS

	mu sync.Mutex
	// generation grows by one whenever the credentials are to be read again.
	generation int
	loaded     *aws.Config
}

// New takes the section of the site file. It reads nothing yet.
func New(site runbooks.AWS) *Account { return &Account{site: site} }

// Config returns the configuration of a service, such as ec2, in a region, with
// credentials that were there a moment ago, and the generation that they belong
// to. Its errors are ErrCredentials, or the context's.
func (a *Account) Config(ctx context.Context, service, region string) (aws.Config, int, error) {
	loaded, generation, err := a.load(ctx)
	if err != nil {
		return aws.Config{}, generation, err
	}
	if _, err := loaded.Credentials.Retrieve(ctx); err != nil {
		if ctx.Err() != nil {
			return aws.Config{}, generation, ctx.Err()
		}
		return aws.Config{}, generation, fmt.Errorf("%w: %w", ErrCredentials, err)
	}
	made := loaded.Copy()
	made.Region = region
	if region == "" {
		made.Region = defaultRegion
	}
	if endpoint := a.site.Endpoints[service]; endpoint != "" {
		made.BaseEndpoint = aws.String(strings.ReplaceAll(endpoint, "{region}", made.Region))
	}
	return made, generation, nil
}

// Reload has the credentials read again. Of several callers that failed with
// those of one generation, the first does it for all.
func (a *Account) Reload(generation int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if generation == a.generation {
		a.generation++
		a.loaded = nil
	}
}

// load reads the configuration, unless it was read since the last reload.
func (a *Account) load(ctx context.Context) (*aws.Config, int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.loaded != nil {
		return a.loaded, a.generation, nil
	}
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(boundedClient()),
		config.WithLogger(logging.Nop{}), // it writes to standard error otherwise, about things that are tried again
	}
	if a.site.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(a.site.Profile))
	}
	if !a.site.AccessKey.IsZero() {
		options = append(options, config.WithCredentialsProvider(a.byReference()))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, a.generation, fmt.Errorf("%w: %w", ErrCredentials, err)
	}
	a.loaded = &loaded
	return a.loaded, a.generation, nil
}

// byReference resolves the credentials when they are needed, not before.
func (a *Account) byReference() aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		made := aws.Credentials{Source: "understudy.yaml", CanExpire: true, Expires: time.Now().Add(keysLive)}
		var err error
		if made.AccessKeyID, err = secrets.Resolve(a.site.AccessKey); err != nil {
			return aws.Credentials{}, err
		}
		if made.SecretAccessKey, err = secrets.Resolve(a.site.SecretKey); err != nil {
			return aws.Credentials{}, err
		}
		if !a.site.SessionToken.IsZero() {
			if made.SessionToken, err = secrets.Resolve(a.site.SessionToken); err != nil {
				return aws.Credentials{}, err
			}
		}
		return made, nil
	})
}

// boundedClient is an HTTP client that does not wait for ever for a connection.
// How long an answer may take, the caller says with its context.
func boundedClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
		WithTransportOptions(func(t *http.Transport) { t.TLSHandshakeTimeout = tlsTimeout })
}
