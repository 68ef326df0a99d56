package access_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers/access"
)

func TestWhatIsRefusedAtTheStart(t *testing.T) {
	with := func(extra string, users ...string) string { return webConfig(t, extra, users...) }
	missing := filepath.Join(t.TempDir(), "none.yml")
	for name, c := range map[string]struct {
		address, file string
		users         []runbooks.User
		says          string // empty where it starts
	}{
		"loopback":                       {"127.0.0.1:0", "", nil, ""},
		"loopback, version 6":            {"[::1]:0", "", nil, ""},
		"loopback by name":               {"localhost:0", "", nil, ""},
		"all addresses":                  {"0.0.0.0:8400", "", nil, "nobody would have to log in"},
		"all addresses, short":           {":8400", "", nil, "nobody would have to log in"},
		"all addresses, version 6":       {"[::]:8400", "", nil, "nobody would have to log in"},
		"one address":                    {"10.1.2.3:8400", "", nil, "listen.web_config"},
		"a name":                         {"dr.example.com:8400", "", nil, "nobody would have to log in"},
		"a name that looks like it":      {"localhost.example.com:8400", "", nil, "nobody would have to log in"},
		"a file without users":           {"0.0.0.0:8400", with("http_server_config: {http2: true}\n"), nil, "has no basic_auth_users"},
		"with users":                     {"0.0.0.0:8400", with("", "anna"), []runbooks.User{{Name: "anna", Role: "approver"}}, ""},
		"users without a role":           {"0.0.0.0:8400", with("", "anna"), nil, "nobody of "},
		"a role without a password":      {"127.0.0.1:0", with("", "anna"), []runbooks.User{{Name: "anna", Role: "approver"}, {Name: "bob", Role: "viewer"}}, "htpasswd -nBC 10 bob"},
		"a role for Slack alone":         {"127.0.0.1:0", with("", "anna"), []runbooks.User{{Name: "anna", Role: "approver"}, {Name: "bob", Role: "viewer", Slack: "U1"}}, ""},
		"no such file":                   {"127.0.0.1:0", missing, nil, "no such file"},
		"an unknown key":                 {"127.0.0.1:0", with("basic_auth: {}\n", "anna"), four, "basic_auth"},
		"a password instead of a hash":   {"127.0.0.1:0", with("  bob: secret\n", "anna"), four, "bcrypt"},
		"a certificate that is missing":  {"127.0.0.1:0", with("tls_server_config: {cert_file: a, key_file: b}\n", "anna"), four, "cert_file"},
		"a limit that would lose alerts": {"127.0.0.1:0", with("rate_limit: {interval: 1s, burst: 1}\n", "anna"), four, "rate_limit"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := access.New(access.Options{
				Address: c.address, WebConfig: c.file, Users: c.users, DataDir: t.TempDir(), Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
			})
			switch {
			case c.says == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
				t.Errorf("it says %v, not %q", err, c.says)
			case err != nil && strings.Contains(err.Error(), "secret"):
				t.Errorf("a secret was told: %v", err)
			}
		})
	}
}

func TestAChangedFileCountsWithoutARestart(t *testing.T) {
	s := withUsers(t)
	if w := s.ask("GET", "/x", "anna"); w.Code != 200 {
		t.Fatalf("%d", w.Code)
	}
	becomes := func(what string, want int, user string) {
		t.Helper()
		deadline := time.Now().Add(30 * time.Second)
		for s.ask("GET", "/x", user).Code != want {
			if time.Now().After(deadline) {
				t.Fatalf("%s: still %d", what, s.ask("GET", "/x", user).Code)
			}
			time.Sleep(250 * time.Millisecond) // each try with a wrong password counts
		}
	}
	writeUsers(t, s.file, "", "am", "vera", "rob")
	becomes("a user who is gone", 401, "anna")
	if err := os.WriteFile(s.file, []byte("basic_auth_users: [broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if w := s.ask("GET", "/x", "rob"); w.Code != 200 {
		t.Errorf("with a broken file the old one does not stay: %d", w.Code)
	}
	writeUsers(t, s.file, "", "rob", "anna")
	becomes("a user who is back", 200, "anna")
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	pool := certify(t, dir)
	file := webConfig(t, "tls_server_config: {cert_file: "+dir+"/tls.crt, key_file: "+dir+"/tls.key}\nhttp_server_config: {headers: {Strict-Transport-Security: max-age=1}}\n", "anna")
	s := open(t, func(o *access.Options) {
		o.WebConfig, o.Users = file, []runbooks.User{{Name: "anna", Role: "approver"}}
	})
	server := &http.Server{Handler: s, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	if secure, err := s.gate.Secure(server); !secure || err != nil {
		t.Fatal(secure, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.ServeTLS(l, "", "")
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
	r, _ := http.NewRequest("GET", "https://"+l.Addr().String()+"/x", nil)
	r.SetBasicAuth("anna", "annaanna")
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	if answer.ProtoMajor != 2 || !strings.HasPrefix(string(text), "anna|approver|127.0.0.1") || answer.Header.Get("Strict-Transport-Security") != "max-age=1" {
		t.Errorf("%s %s %v", answer.Proto, text, answer.Header)
	}
	old := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11}}}
	if answer, err := old.Get("https://" + l.Addr().String() + "/x"); err == nil {
		answer.Body.Close()
		t.Error("TLS 1.1 was accepted")
	}
}

// certify writes a certificate for loopback, and returns the pool that trusts it.
func certify(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "understudy"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

// The shipped web config file, with the shipped users: each of them gets in, over
// TLS, with the password that it names, and may do what docs/production.md says.
func TestTheShippedFile(t *testing.T) {
	dir := t.TempDir()
	pool := certify(t, dir)
	for from, to := range map[string]string{"tls.crt": "understudy.crt", "tls.key": "understudy.key"} {
		if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	shipped, err := os.ReadFile("../../deploy/web-config.yml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "web-config.yml")
	if err := os.WriteFile(file, shipped, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, func(o *access.Options) {
		o.Address, o.WebConfig = "0.0.0.0:8400", file
		o.Users = []runbooks.User{{Name: "alertmanager", Role: "ingest"}, {Name: "grafana", Role: "viewer"}, {Name: "anna", Role: "responder"}, {Name: "boris", Role: "approver"}}
	})
	server := &http.Server{Handler: s, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	if secure, err := s.gate.Secure(server); !secure || err != nil {
		t.Fatal(secure, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.ServeTLS(l, "", "")
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	for _, c := range []struct {
		user, password, method, path string
		want                         int
	}{
		{"alertmanager", "ingest-me", "POST", "/api/v1/alerts", 200},
		{"alertmanager", "ingest-me", "GET", "/api/v1/services", 403},
		{"grafana", "view-me", "GET", "/metrics", 200},
		{"grafana", "view-me", "POST", "/api/v1/services/x/pause", 403},
		{"anna", "respond-to-me", "POST", "/api/v1/services/x/pause", 200},
		{"boris", "approve-me", "POST", "/api/v1/services/x/pause", 200},
		{"boris", "respond-to-me", "GET", "/api/v1/services", 401},
		{"", "", "GET", "/api/v1/services", 401},
	} {
		r, err := http.NewRequest(c.method, "https://"+l.Addr().String()+c.path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if c.user != "" {
			r.SetBasicAuth(c.user, c.password)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s: %s %s is answered with %d, want %d", c.user, c.method, c.path, resp.StatusCode, c.want)
		}
	}
}
