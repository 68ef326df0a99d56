// Package harnesstest starts real parts for a test and ends them with it.
//
// Where a program is not installed the test is skipped with a reason that
// begins with "missing:", so that CI can insist that nothing is.
package harnesstest

import (
	"context"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/tests/harness"
)

// startTimeout is generous: machines that run tests are often busy.
const startTimeout = 60 * time.Second

// MinIO starts a MinIO with the named buckets.
func MinIO(t testing.TB, buckets ...string) *harness.MinIOServer {
	t.Helper()
	if _, err := harness.FindMinIO(); err != nil {
		t.Skipf("missing: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	server, err := harness.MinIO(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Kill() })
	for _, bucket := range buckets {
		if err := server.CreateBucket(ctx, bucket); err != nil {
			t.Fatal(err)
		}
	}
	return server
}

// Etcd starts an etcd.
func Etcd(t testing.TB) *harness.EtcdServer {
	t.Helper()
	if _, err := harness.Find("etcd", "etcd-server"); err != nil {
		t.Skipf("missing: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	server, err := harness.Etcd(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Kill() })
	return server
}
