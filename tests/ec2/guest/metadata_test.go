package guest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/tests/ec2"
)

// ask is one request to a metadata service.
func ask(t *testing.T, url, method string, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestMetadata(t *testing.T) {
	role := func(profile string) (Credentials, error) {
		if profile != "asr-dr" {
			return Credentials{}, errors.New("no such role")
		}
		return Credentials{AccessKey: "AK", SecretKey: "SK", Token: "TK", Expires: time.Unix(2e9, 0)}, nil
	}
	boot := ec2.Boot{Region: "us-west-2", Zone: "us-west-2a", ID: "i-0123456789abcdef0", Image: "ami-1", Address: "127.1.0.2", UserData: "#cloud-config\n", Profile: "asr-dr", Tokens: "required"}
	s := httptest.NewServer(newMetadata(boot, role))
	t.Cleanup(s.Close)

	for name, headers := range map[string][]string{
		"without a life": {}, "with none": {ttlHeader, "0"}, "for too long": {ttlHeader, "21601"}, "through a proxy": {ttlHeader, "60", "X-Forwarded-For", "10.0.0.1"},
	} {
		if status, _ := ask(t, s.URL+"/latest/api/token", http.MethodPut, headers...); status == http.StatusOK {
			t.Errorf("%s: a token is given", name)
		}
	}
	status, token := ask(t, s.URL+"/latest/api/token", http.MethodPut, ttlHeader, "60")
	if status != http.StatusOK || token == "" {
		t.Fatalf("%d %s", status, token)
	}
	for _, c := range []struct {
		path, token string
		status      int
		body        string
	}{
		{"/latest/user-data", "", http.StatusUnauthorized, "401"},
		{"/latest/user-data", "made up", http.StatusUnauthorized, "401"},
		{"/latest/user-data", token, http.StatusOK, "#cloud-config\n"},
		{"/latest/meta-data/instance-id", token, http.StatusOK, "i-0123456789abcdef0"},
		{"/latest/meta-data/placement/availability-zone", token, http.StatusOK, "us-west-2a"},
		{"/latest/meta-data/placement/", token, http.StatusOK, "availability-zone\nregion"},
		{"/latest/meta-data/iam/security-credentials/", token, http.StatusOK, "asr-dr"},
		{"/latest/meta-data/nowhere", token, http.StatusNotFound, "404"},
	} {
		status, body := ask(t, s.URL+c.path, http.MethodGet, tokenHeader, c.token)
		if status != c.status || !strings.HasPrefix(body, c.body) {
			t.Errorf("%s: %d %q", c.path, status, body)
		}
	}
	if _, list := ask(t, s.URL+"/latest/meta-data/", http.MethodGet, tokenHeader, token); !strings.Contains(list, "iam/\ninstance-id") {
		t.Errorf("below meta-data: %q", list)
	}
	var credentials struct{ Code, AccessKeyID, SecretAccessKey, Token, Expiration string }
	_, body := ask(t, s.URL+"/latest/meta-data/iam/security-credentials/asr-dr", http.MethodGet, tokenHeader, token)
	if err := json.Unmarshal([]byte(body), &credentials); err != nil || credentials.Code != "Success" || credentials.AccessKeyID != "AK" || credentials.Expiration != "2033-05-18T03:33:20Z" {
		t.Errorf("%+v, %v", credentials, err)
	}
}

// Where tokens are optional the first version of the service answers as well.
func TestMetadataWithoutTokens(t *testing.T) {
	s := httptest.NewServer(newMetadata(ec2.Boot{ID: "i-1", Tokens: "optional"}, nil))
	t.Cleanup(s.Close)
	if status, body := ask(t, s.URL+"/latest/meta-data/instance-id", http.MethodGet); status != http.StatusOK || body != "i-1" {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := ask(t, s.URL+"/latest/user-data", http.MethodGet); status != http.StatusNotFound {
		t.Errorf("user data that there is none of: %d", status)
	}
	if status, _ := ask(t, s.URL+"/latest/meta-data/iam/security-credentials/", http.MethodGet); status != http.StatusNotFound {
		t.Errorf("a role that there is none of: %d", status)
	}
}
