package traffictest

import (
	"context"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/tests/harness"
)

// startTimeout is generous: machines that run tests are often busy.
const startTimeout = 60 * time.Second

// HAProxy starts an HAProxy for the length of a test; where it is not installed the test is skipped.
func HAProxy(t testing.TB, config string) *harness.HAProxyServer {
	t.Helper()
	if _, err := harness.Find("haproxy", "haproxy"); err != nil {
		t.Skipf("missing: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	h, err := harness.HAProxy(ctx, t.TempDir(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Kill() })
	return h
}

// Nginx starts an nginx in dir for the length of a test and waits until it
// listens at the address; where it is not installed the test is skipped.
func Nginx(t testing.TB, dir, config, address string) *harness.NginxServer {
	t.Helper()
	if _, err := harness.Find("nginx", "nginx-light"); err != nil {
		t.Skipf("missing: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	n, err := harness.Nginx(ctx, dir, config, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Kill() })
	return n
}
