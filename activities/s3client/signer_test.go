package s3client

import (
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// A secret that changes under its access key id is signed with at once.
func TestASecretThatChangesUnderItsID(t *testing.T) {
	sign := func(by s3.HTTPSignerV4, secret string) string {
		r, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:9000/models/a%20b", nil)
		if err != nil {
			t.Fatal(err)
		}
		keys := aws.Credentials{AccessKeyID: "understudy", SecretAccessKey: secret}
		if err := by.SignHTTP(t.Context(), keys, r, "UNSIGNED-PAYLOAD", "s3", DefaultRegion, time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)); err != nil {
			t.Fatal(err)
		}
		return r.Header.Get("Authorization")
	}
	ours := &signer{}
	for _, secret := range []string{"one", "one", "two", "one"} {
		fresh := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
		if got, want := sign(ours, secret), sign(fresh, secret); got != want || got == "" {
			t.Errorf("secret %s: %s, want %s", secret, got, want)
		}
	}
}
