// Package etcd reads configuration from etcd: one key, or all keys of a prefix.
//
// It asks a majority of the members, so that a member that was cut off does not
// answer with what was true yesterday. One connection per server and user is
// kept, made at its first use.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/activities/etcdclient"
	"github.com/understudy-dr/understudy/activities/settings"
	"github.com/understudy-dr/understudy/runbooks"
)

var _ settings.Source = (*Source)(nil)

// Source reads from etcd. It is safe for concurrent use.
type Source struct {
	mu      sync.Mutex
	clients map[login]*etcdclient.Client
}

type login struct {
	endpoint, user string
	password       runbooks.Secret
}

// New returns a source that has not connected yet.
func New() *Source { return &Source{clients: map[login]*etcdclient.Client{}} }

// Read reads a key or a prefix. A reference without an endpoint is an error of
// its own: the Reader fills in the site's config center.
func (s *Source) Read(ctx context.Context, ref runbooks.Source) (settings.Values, error) {
	switch {
	case ref.Endpoint == "":
		return nil, errors.New("no config center: name the endpoint in the reference, or config_center in the site file")
	case (ref.Key == "") == (ref.Prefix == ""):
		return nil, errors.New("an etcd reference names a key or a prefix, one of the two")
	}
	name, options, cut := ref.Key, []clientv3.OpOption(nil), 0
	if ref.Prefix != "" {
		name, options, cut = ref.Prefix, []clientv3.OpOption{clientv3.WithPrefix()}, strings.LastIndexByte(ref.Prefix, '/')+1
	}
	client := s.client(ref)
	kv, err := client.KV(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", settings.ErrUnavailable, client, err)
	}
	answer, err := kv.Get(ctx, name, options...)
	if err != nil {
		return nil, fmt.Errorf("%w: %q at %s: %w", settings.ErrUnavailable, name, client, err)
	}
	raw := settings.Values{}
	for _, pair := range answer.Kvs {
		key := string(pair.Key)[cut:]
		if key == "" && len(pair.Value) == 0 {
			continue // the directory itself, as some tools mark it
		}
		raw[key] = string(pair.Value)
	}
	values, err := settings.Tidy(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %q at %s", err, name, client)
	}
	return values, nil
}

// Close ends the connections.
func (s *Source) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, client := range s.clients {
		client.Close()
	}
}

func (s *Source) client(ref runbooks.Source) *etcdclient.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	who := login{endpoint: ref.Endpoint, user: ref.User, password: ref.Password}
	if s.clients[who] == nil {
		s.clients[who] = etcdclient.New(etcdclient.Config{Endpoints: []string{ref.Endpoint}, User: ref.User, Password: ref.Password})
	}
	return s.clients[who]
}
