// Package etcdclient connects to etcd for whoever reads or writes there: the
// config center and the epoch store.
//
// A program that starts in the middle of a disaster must not wait for etcd, so
// a [Client] connects at its first use, and again whenever that failed. A
// password is resolved at each use: a rotated one needs no restart.
package etcdclient

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/understudy-dr/understudy/activities/secrets"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// maxReconnect is the longest wait before the next try to connect. gRPC's default of two minutes would keep
	// Understudy blind for two minutes after etcd is back.
	maxReconnect = time.Second
	// keepAlive and keepAliveTimeout find a connection whose other end is gone without a word. etcd answers pings
	// that come every 5 s or slower, and drops who is faster.
	keepAlive        = 10 * time.Second
	keepAliveTimeout = 3 * time.Second
	// maxAnswer bounds what is received in one answer, in bytes: twice the most that any caller accepts.
	maxAnswer = 2 << 20
)

// Config says which etcd is meant.
type Config struct {
	// Endpoints are the URLs of the servers, http or https.
	Endpoints []string
	// User and Password are given where etcd asks for them; Password without User is not used.
	User     string
	Password runbooks.Secret
}

// Client is a connection to be. It is safe for concurrent use.
type Client struct {
	config Config
	// turn holds one token: who has it may look at and change what is below.
	turn     chan struct{}
	kv       *clientv3.Client
	password string
}

// New returns a client that has not connected yet.
func New(config Config) *Client {
	return &Client{config: config, turn: make(chan struct{}, 1)}
}

// String names the servers, for errors.
func (c *Client) String() string { return "etcd " + strings.Join(c.config.Endpoints, ",") }

// KV returns the connected client. With a user it asks etcd for a token first,
// where it has none yet, and blocks until the context ends at the latest;
// without one it returns at once, and the first request connects.
func (c *Client) KV(ctx context.Context) (clientv3.KV, error) {
	if len(c.config.Endpoints) == 0 {
		return nil, errors.New("no etcd endpoint is configured")
	}
	password := ""
	if c.config.User != "" {
		var err error
		if password, err = secrets.Resolve(c.config.Password); err != nil {
			return nil, err
		}
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("connect: %w", ctx.Err())
	}
	if c.kv != nil && c.password == password {
		return c.kv, nil
	}
	c.drop()
	kv, err := connect(ctx, c.config, password)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c.kv, c.password = kv, password
	return kv, nil
}

// Close ends the connection. The next use connects again.
func (c *Client) Close() {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.drop()
}

func (c *Client) drop() {
	if c.kv != nil {
		c.kv.Close()
		c.kv = nil
	}
}

// connect makes a client that outlives the context, which bounds only the making.
func connect(ctx context.Context, config Config, password string) (*clientv3.Client, error) {
	life, end := context.WithCancel(context.Background())
	made := context.AfterFunc(ctx, end)
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            config.Endpoints,
		Username:             config.User,
		Password:             password,
		Context:              life,
		DialKeepAliveTime:    keepAlive,
		DialKeepAliveTimeout: keepAliveTimeout,
		MaxCallRecvMsgSize:   maxAnswer,
		Logger:               zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxReconnect},
			MinConnectTimeout: 2 * time.Second,
		})},
	})
	if err != nil {
		end()
		return nil, err
	}
	if !made() {
		client.Close()
		return nil, ctx.Err()
	}
	return client, nil
}
