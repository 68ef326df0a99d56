package etcdclient_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/understudy-dr/understudy/activities/etcdclient"
	"github.com/understudy-dr/understudy/activities/secrets"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
)

// short is enough for etcd to hang in; long is enough for it to answer on a busy machine.
const (
	short = 200 * time.Millisecond
	long  = 20 * time.Second
)

func get(c *etcdclient.Client, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	kv, err := c.KV(ctx)
	if err != nil {
		return err
	}
	_, err = kv.Get(ctx, "key")
	return err
}

func TestFaults(t *testing.T) {
	server := harnesstest.Etcd(t)
	client := etcdclient.New(etcdclient.Config{Endpoints: []string{server.Endpoint}})
	defer client.Close()
	if err := get(client, long); err != nil {
		t.Fatal(err)
	}

	if err := server.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := get(client, short); err == nil {
		t.Error("a stopped server answered")
	}
	server.Thaw()
	if err := get(client, long); err != nil {
		t.Errorf("after it went on: %v", err)
	}

	server.Kill()
	if err := get(client, short); err == nil {
		t.Error("a dead server answered")
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := get(client, long); err != nil {
		t.Errorf("after it came back: %v", err)
	}
}

func TestPassword(t *testing.T) {
	server := harnesstest.Etcd(t)
	file := filepath.Join(t.TempDir(), "password")
	admin := enableAuth(t, server)
	write := func(password string) {
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	client := etcdclient.New(etcdclient.Config{Endpoints: []string{server.Endpoint}, User: "root", Password: runbooks.Secret{File: file}})
	defer client.Close()

	if err := get(client, long); !errors.Is(err, secrets.ErrUnresolved) {
		t.Errorf("no password: %v", err)
	}
	write("wrong")
	if err := get(client, long); err == nil || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong password: %v", err)
	}
	write("first")
	if err := get(client, long); err != nil {
		t.Errorf("the right password: %v", err)
	}
	if _, err := admin.UserChangePassword(t.Context(), "root", "second"); err != nil {
		t.Fatal(err)
	}
	write("second")
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			if err := get(client, long); err != nil {
				t.Errorf("the new password: %v", err)
			}
		})
	}
	users.Wait()
}

func TestNobodyWaitsLongerThanHisContextForAHangingLogin(t *testing.T) {
	server := harnesstest.Etcd(t)
	enableAuth(t, server)
	t.Setenv("UNDERSTUDY_TEST_PASSWORD", "first")
	client := etcdclient.New(etcdclient.Config{
		Endpoints: []string{server.Endpoint}, User: "root", Password: runbooks.Secret{Env: "UNDERSTUDY_TEST_PASSWORD"},
	})
	defer client.Close()
	if err := server.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	var users sync.WaitGroup
	for range 4 {
		users.Go(func() {
			if err := get(client, short); err == nil {
				t.Error("a stopped server answered")
			}
		})
	}
	users.Wait()
	server.Thaw()
	if err := get(client, long); err != nil {
		t.Errorf("after it went on: %v", err)
	}
}

func TestNoEndpoint(t *testing.T) {
	if err := get(etcdclient.New(etcdclient.Config{}), short); err == nil {
		t.Error("no error")
	}
}

// enableAuth gives etcd a user root with the password first.
func enableAuth(t *testing.T, server *harness.EtcdServer) *clientv3.Client {
	t.Helper()
	admin, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	ctx := t.Context()
	if _, err := admin.UserAdd(ctx, "root", "first"); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.UserGrantRole(ctx, "root", "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.AuthEnable(ctx); err != nil {
		t.Fatal(err)
	}
	root, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint}, Username: "root", Password: "first", Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}
