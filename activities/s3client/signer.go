package s3client

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// signer signs with the secret that it is given. The SDK's own remembers keys
// that it has derived by the access key id alone, which holds at AWS, where a
// secret never changes under its id; a MinIO's root password does, and the old
// one would be used until the next day.
type signer struct {
	mu     sync.Mutex
	secret string
	signs  *v4.Signer
}

var _ s3.HTTPSignerV4 = (*signer)(nil)

// SignHTTP signs a request.
func (s *signer) SignHTTP(ctx context.Context, keys aws.Credentials, r *http.Request, hash, service, region string, at time.Time, options ...func(*v4.SignerOptions)) error {
	return s.of(keys).SignHTTP(ctx, keys, r, hash, service, region, at, options...)
}

func (s *signer) of(keys aws.Credentials) *v4.Signer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.signs == nil || s.secret != keys.SecretAccessKey {
		s.secret = keys.SecretAccessKey
		s.signs = v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }) // S3 signs paths as they are sent
	}
	return s.signs
}
