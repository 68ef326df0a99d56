package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/understudy-dr/understudy/activities/secrets"
	"github.com/understudy-dr/understudy/activities/settings"
	"github.com/understudy-dr/understudy/activities/settings/etcd"
	"github.com/understudy-dr/understudy/activities/settings/settingstest"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
)

func connect(t *testing.T, server *harness.EtcdServer) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func TestSource(t *testing.T) {
	server := harnesstest.Etcd(t)
	settingstest.Run(t, func(t *testing.T) settingstest.Fixture {
		client := connect(t, server)
		source := etcd.New()
		t.Cleanup(source.Close)
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		return settingstest.Fixture{
			Source: source,
			Ref: func(key string) runbooks.Source {
				return runbooks.Source{Kind: settings.KindEtcd, Endpoint: server.Endpoint, Key: key}
			},
			Put: func(key, value string) {
				_, err := client.Put(t.Context(), key, value)
				must(err)
			},
			Delete: func(key string) {
				_, err := client.Delete(t.Context(), key)
				must(err)
			},
			Stop:     func() { must(server.Freeze(t.Context())) },
			Continue: func() { server.Thaw() },
			Kill:     func() { server.Kill() },
			Restart: func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				must(server.Restart(ctx))
			},
		}
	})

	t.Run("prefix", func(t *testing.T) {
		client, source := connect(t, server), etcd.New()
		t.Cleanup(source.Close)
		put := func(key, value string) {
			if _, err := client.Put(t.Context(), key, value); err != nil {
				t.Fatal(err)
			}
		}
		for _, site := range []string{"dc-a/", "dc-b/"} {
			put(site+"fun-asr/", "")
			put(site+"fun-asr/hotwords", "阿里巴巴 20\n")
			put(site+"fun-asr/itn/rules", "a b")
			put(site+"fun-asr/empty", "")
			put(site+"fun-asr-2/hotwords", "another service's")
		}
		put("blank/a", "")
		put("blank/b", "\n")
		all := settings.Values{"hotwords": "阿里巴巴 20", "itn/rules": "a b", "empty": ""}
		for prefix, want := range map[string]settings.Values{
			"dc-a/fun-asr/":     all,
			"dc-b/fun-asr/":     all,
			"dc-a/fun-asr/itn":  {"itn/rules": "a b"},
			"dc-a/fun-asr/itn/": {"rules": "a b"},
		} {
			got, err := source.Read(t.Context(), runbooks.Source{Kind: settings.KindEtcd, Endpoint: server.Endpoint, Prefix: prefix})
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %q, %v; want %q", prefix, got, err, want)
			}
		}
		for _, prefix := range []string{"dc-c/", "blank/"} {
			if got, err := source.Read(t.Context(), runbooks.Source{Kind: settings.KindEtcd, Endpoint: server.Endpoint, Prefix: prefix}); !errors.Is(err, settings.ErrMissing) {
				t.Errorf("%s: got %q, %v; want ErrMissing", prefix, got, err)
			}
		}
		for i := range 4 {
			put(fmt.Sprintf("many/%d", i), strings.Repeat("x", 1<<20))
		}
		if _, err := source.Read(t.Context(), runbooks.Source{Kind: settings.KindEtcd, Endpoint: server.Endpoint, Prefix: "many/"}); !errors.Is(err, settings.ErrUnavailable) {
			t.Errorf("4 MiB: %v, want ErrUnavailable", err)
		}
	})
}

func TestPassword(t *testing.T) {
	server := harnesstest.Etcd(t)
	client, source := connect(t, server), etcd.New()
	t.Cleanup(source.Close)
	for _, step := range []func() error{
		func() error { _, err := client.Put(t.Context(), "model/version", "2512.1"); return err },
		func() error { _, err := client.UserAdd(t.Context(), "root", "s3cret"); return err },
		func() error { _, err := client.UserGrantRole(t.Context(), "root", "root"); return err },
		func() error { _, err := client.AuthEnable(t.Context()); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("UNDERSTUDY_TEST_PASSWORD", "s3cret")
	ref := runbooks.Source{Kind: settings.KindEtcd, Endpoint: server.Endpoint, Key: "model/version"}
	if _, err := source.Read(t.Context(), ref); !errors.Is(err, settings.ErrUnavailable) {
		t.Errorf("without a user: %v", err)
	}
	ref.User, ref.Password = "root", runbooks.Secret{Env: "UNDERSTUDY_TEST_PASSWORD"}
	if got, err := source.Read(t.Context(), ref); err != nil || got["model/version"] != "2512.1" {
		t.Errorf("with a password: %q, %v", got, err)
	}
	ref.Password = runbooks.Secret{Env: "UNDERSTUDY_TEST_ABSENT"}
	if _, err := source.Read(t.Context(), ref); !errors.Is(err, settings.ErrUnavailable) || !errors.Is(err, secrets.ErrUnresolved) {
		t.Errorf("with a password that is not there: %v", err)
	}
}

func TestReferencesThatAreNone(t *testing.T) {
	source := etcd.New()
	for _, ref := range []runbooks.Source{
		{Key: "a"},
		{Endpoint: "http://127.0.0.1:1"},
		{Endpoint: "http://127.0.0.1:1", Key: "a", Prefix: "b"},
	} {
		if _, err := source.Read(t.Context(), ref); err == nil || errors.Is(err, settings.ErrUnavailable) || errors.Is(err, settings.ErrMissing) {
			t.Errorf("%+v: %v, want an error of its own", ref, err)
		}
	}
}
