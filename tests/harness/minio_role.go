package harness

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// RoleCredentials are temporary ones, as a role has them.
type RoleCredentials struct {
	AccessKey string    `xml:"AccessKeyId"`
	SecretKey string    `xml:"SecretAccessKey"`
	Token     string    `xml:"SessionToken"`
	Expires   time.Time `xml:"Expiration"`
}

// AssumeRole asks the server for temporary credentials that may do what its
// owner may, by STS.
func (m *MinIOServer) AssumeRole(ctx context.Context, life time.Duration) (RoleCredentials, error) {
	body := url.Values{"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "DurationSeconds": {fmt.Sprint(int(life.Seconds()))}}.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.Endpoint, strings.NewReader(body))
	if err != nil {
		return RoleCredentials{}, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sum := sha256.Sum256([]byte(body))
	owner := aws.Credentials{AccessKeyID: minioAccessKey, SecretAccessKey: minioSecretKey}
	if err := v4.NewSigner().SignHTTP(ctx, owner, r, hex.EncodeToString(sum[:]), "sts", "us-east-1", time.Now()); err != nil {
		return RoleCredentials{}, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return RoleCredentials{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return RoleCredentials{}, fmt.Errorf("assume a role at %s: %s: %s, %v", m.Endpoint, resp.Status, text, err)
	}
	var answer struct {
		Credentials RoleCredentials `xml:"AssumeRoleResult>Credentials"`
	}
	if err := xml.Unmarshal(text, &answer); err != nil || answer.Credentials.Token == "" {
		return RoleCredentials{}, fmt.Errorf("assume a role at %s: %s, %v", m.Endpoint, text, err)
	}
	return answer.Credentials, nil
}
