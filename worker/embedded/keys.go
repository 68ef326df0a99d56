package embedded

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"go.temporal.io/server/common/rpc/encryption"
)

// serverName is what the one certificate is made out to.
const serverName = "understudy.engine"

// keys are the engine's identity: one certificate, made with the data
// directory, that every side of every connection must show. Who cannot read the
// directory cannot talk to the engine.
type keys struct {
	pair tls.Certificate
	pool *x509.CertPool
	// cert and key are the same pair as PEM, for the web UI and the temporal command.
	cert, key []byte
}

var _ encryption.TLSConfigProvider = (*keys)(nil)

// openKeys reads the pair in dir, or makes one, readable by the owner alone. The
// temporal command can use it beside Understudy.
func openKeys(dir, host string) (*keys, error) {
	cert, key := filepath.Join(dir, "engine.crt"), filepath.Join(dir, "engine.key")
	k := &keys{pool: x509.NewCertPool()}
	var certErr, keyErr error
	k.cert, certErr = os.ReadFile(cert)
	k.key, keyErr = os.ReadFile(key)
	if certErr != nil || keyErr != nil || !k.usable(host) {
		if err := k.make(host); err != nil {
			return nil, fmt.Errorf("make the engine's key: %w", err)
		}
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(cert, k.cert, 0o600), os.WriteFile(key, k.key, 0o600)); err != nil {
			return nil, fmt.Errorf("keep the engine's key: %w", err)
		}
	}
	k.pool.AppendCertsFromPEM(k.cert)
	return k, nil
}

// usable reports whether the pair that was read fits the host and will for another month.
func (k *keys) usable(host string) bool {
	var err error
	if k.pair, err = tls.X509KeyPair(k.cert, k.key); err != nil {
		return false
	}
	return k.pair.Leaf.VerifyHostname(host) == nil && time.Now().AddDate(0, 1, 0).Before(k.pair.Leaf.NotAfter)
}

func (k *keys) make(host string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: serverName},
		DNSNames:              []string{serverName, "localhost"},
		IPAddresses:           []net.IP{net.ParseIP(host)},
		NotBefore:             time.Now().Add(-24 * time.Hour),
		NotAfter:              time.Now().AddDate(10, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	k.cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	k.key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	k.pair, err = tls.X509KeyPair(k.cert, k.key)
	return err
}

func (k *keys) server() *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{k.pair},
		ClientCAs:    k.pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		MinVersion:   tls.VersionTLS13,
	}
}

func (k *keys) client() *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{k.pair},
		RootCAs:      k.pool,
		ServerName:   serverName,
		MinVersion:   tls.VersionTLS13,
	}
}

func (k *keys) GetInternodeServerConfig() (*tls.Config, error) { return k.server(), nil }
func (k *keys) GetInternodeClientConfig() (*tls.Config, error) { return k.client(), nil }
func (k *keys) GetFrontendServerConfig() (*tls.Config, error)  { return k.server(), nil }
func (k *keys) GetFrontendClientConfig() (*tls.Config, error)  { return k.client(), nil }

func (k *keys) GetRemoteClusterClientConfig(string) (*tls.Config, error) { return nil, nil }

func (k *keys) GetExpiringCerts(time.Duration) (expiring, expired encryption.CertExpirationMap, err error) {
	return nil, nil, nil
}
