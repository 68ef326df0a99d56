// Package etcd keeps epochs in etcd, one key per service.
//
// A record is written in a transaction that compares the revision at which the
// key was last changed; an absent key has revision zero.
package etcd

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/activities/epoch"
	"github.com/understudy-dr/understudy/activities/etcdclient"
)

var _ epoch.Store = (*Store)(nil)

// Store keeps epochs in etcd. It is safe for concurrent use.
type Store struct {
	client *etcdclient.Client
	prefix string
}

// New returns a store that keeps its records under prefix + service. It does not connect.
func New(client *etcdclient.Client, prefix string) *Store {
	return &Store{client: client, prefix: prefix}
}

// Read returns the record of a service. It asks a majority of the members, so
// that a member that was cut off does not answer with an old record.
func (s *Store) Read(ctx context.Context, service string) (epoch.Record, error) {
	if err := epoch.CheckService(service); err != nil {
		return epoch.Record{}, err
	}
	ctx, cancel := epoch.Bound(ctx)
	defer cancel()
	kv, err := s.client.KV(ctx)
	if err != nil {
		return epoch.Record{}, s.unavailable(service, err)
	}
	current, _, err := s.get(ctx, kv, service)
	if err != nil {
		return epoch.Record{}, err
	}
	if current == nil {
		return epoch.Record{}, fmt.Errorf("%s at %s: %w", s.prefix+service, s.client, epoch.ErrNone)
	}
	return *current, nil
}

// Write moves a record forward. A swap that is lost is decided anew on what won.
func (s *Store) Write(ctx context.Context, r epoch.Record) error {
	if err := r.Check(); err != nil {
		return err
	}
	ctx, cancel := epoch.Bound(ctx)
	defer cancel()
	kv, err := s.client.KV(ctx)
	if err != nil {
		return s.unavailable(r.Service, err)
	}
	for attempt := 1; ; attempt++ {
		current, revision, err := s.get(ctx, kv, r.Service)
		if err != nil {
			return err
		}
		kept, changed, err := epoch.Decide(current, r)
		if err != nil || !changed {
			return err
		}
		won, err := s.swap(ctx, kv, kept, revision)
		if err != nil || won {
			return err
		}
		if err := epoch.Pause(ctx, attempt); err != nil {
			return s.unavailable(r.Service, err)
		}
	}
}

// get returns the record and the revision of its last change, or nil and 0 where there is none.
func (s *Store) get(ctx context.Context, kv clientv3.KV, service string) (*epoch.Record, int64, error) {
	answer, err := kv.Get(ctx, s.prefix+service)
	if err != nil {
		return nil, 0, s.unavailable(service, err)
	}
	if len(answer.Kvs) == 0 {
		return nil, 0, nil
	}
	r, err := epoch.Decode(service, answer.Kvs[0].Value)
	if err != nil {
		return nil, 0, s.unavailable(service, err)
	}
	return &r, answer.Kvs[0].ModRevision, nil
}

// swap writes the record if the key was not changed since the revision.
func (s *Store) swap(ctx context.Context, kv clientv3.KV, r epoch.Record, revision int64) (won bool, err error) {
	content, err := epoch.Encode(r)
	if err != nil {
		return false, err
	}
	key := s.prefix + r.Service
	answer, err := kv.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
		Then(clientv3.OpPut(key, string(content))).
		Commit()
	if err != nil {
		return false, s.unavailable(r.Service, err)
	}
	return answer.Succeeded, nil
}

func (s *Store) unavailable(service string, err error) error {
	return fmt.Errorf("%w: %s at %s: %w", epoch.ErrUnavailable, s.prefix+service, s.client, err)
}
