package harness

import (
	"context"
	"path/filepath"
)

// EtcdServer is a running etcd of one member. Signal, Kill and Stop come from its process.
type EtcdServer struct {
	*Process
	// Endpoint is the URL for clients.
	Endpoint string
}

// Etcd starts an etcd that keeps its data in dir.
func Etcd(ctx context.Context, dir string) (*EtcdServer, error) {
	path, err := Find("etcd", "etcd-server")
	if err != nil {
		return nil, err
	}
	client, peer := "http://"+Address(FreePort()), "http://"+Address(FreePort())
	e := &EtcdServer{Endpoint: client}
	e.Process, err = Start(ctx, Spec{
		Name: "etcd",
		Path: path,
		Args: []string{"--name", "one", "--data-dir", filepath.Join(dir, "data"),
			"--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "one=" + peer,
			// It is alone, so it need not wait long before it elects itself.
			"--heartbeat-interval", "10", "--election-timeout", "100", "--logger", "zap"},
		Dir:   dir,
		Ready: Responding(client + "/health"),
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Restart starts the server again after Kill or Stop, with the same data, at
// the same address.
func (e *EtcdServer) Restart(ctx context.Context) error {
	process, err := Start(ctx, e.Spec)
	if err != nil {
		return err
	}
	e.Process = process
	return nil
}
