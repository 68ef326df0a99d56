package etcd_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/epoch"
	"github.com/understudy-dr/understudy/activities/epoch/epochtest"
	"github.com/understudy-dr/understudy/activities/epoch/etcd"
	"github.com/understudy-dr/understudy/activities/etcdclient"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
)

func TestStore(t *testing.T) {
	server := harnesstest.Etcd(t)
	fixtures := 0
	epochtest.Run(t, func(t *testing.T) epochtest.Fixture {
		fixtures++
		prefix := fmt.Sprintf("understudy/epochs-%d/", fixtures)
		connect := func() *etcdclient.Client {
			client := etcdclient.New(etcdclient.Config{Endpoints: []string{server.Endpoint}})
			t.Cleanup(client.Close)
			return client
		}
		return epochtest.Fixture{
			Open: func() epoch.Store { return etcd.New(connect(), prefix) },
			Stop: func() {
				if err := server.Freeze(t.Context()); err != nil {
					t.Fatal(err)
				}
			},
			Continue: func() { server.Thaw() },
			Kill:     func() { server.Kill() },
			Restart: func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := server.Restart(ctx); err != nil {
					t.Fatal(err)
				}
			},
			Plant: func(service string, content []byte) {
				kv, err := connect().KV(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := kv.Put(t.Context(), prefix+service, string(content)); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}
