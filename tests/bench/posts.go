package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// postServices share the webhooks, postLanes are under way at once.
	postServices, postLanes = 32, 16
	// postBlock is how many each contestant sends before the other one's turn, postTurns how often each has one.
	postBlock, postTurns = 600, 4
)

// posts measures how many webhooks are accepted a second, which means that the
// engine holds them, beside the bare signals that they become on the same engine.
func posts(ctx context.Context, b *bench) (group, error) {
	dir := filepath.Join(b.dir, "posts")
	u, err := start(ctx, dir, func(ctx context.Context, dir string) (*harness.Understudy, error) {
		var books []runbooks.Runbook
		for i := range postServices {
			r := runbookOf(postService(i), "http://127.0.0.1:1", "http://127.0.0.1:1", "http://127.0.0.1:1")
			r.Traffic.Sockets = []string{filepath.Join(dir, "none.sock")}
			books = append(books, r)
		}
		return harness.StartUnderstudy(ctx, harness.UnderstudyOptions{Dir: dir, Runbooks: books})
	})
	if err != nil {
		return group{}, err
	}
	defer u.Kill()
	c, err := dialEngine(ctx, u)
	if err != nil {
		return group{}, err
	}
	defer c.Close()
	// A resolved alert that no guard knows is heard and forgotten: what is measured is the way in.
	post := func(ctx context.Context, i int) error {
		return sendWebhook(ctx, u.URL+"/api/v1/alerts", "resolved", postService(i), fmt.Sprint(i))
	}
	signal := func(ctx context.Context, i int) error {
		service := postService(i)
		_, err := c.SignalWithStartWorkflow(ctx, workflows.GuardID(service), workflows.AlertSignalName, workflows.AlertSignal{
			Alerts: []workflows.Alert{{Fingerprint: fmt.Sprint(i), StartsAt: time.Now(), EndsAt: time.Now(), Name: alertName}}, Received: time.Now(),
		}, client.StartWorkflowOptions{
			ID: workflows.GuardID(service), TaskQueue: workflows.TaskQueue, WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		}, workflows.Guard, workflows.GuardInput{Service: service})
		return err
	}
	var took [2]time.Duration
	for turn := range 2 * postTurns {
		b.tell("turn %d of %d", turn+1, 2*postTurns)
		who := turn % 2
		began := time.Now()
		if err := inLanes(ctx, turn*postBlock, []func(context.Context, int) error{post, signal}[who]); err != nil {
			return group{}, err
		}
		took[who] += time.Since(began)
		pause(ctx, rest)
	}
	rate := func(d time.Duration) float64 { return postTurns * postBlock / d.Seconds() }
	return group{
		title: "webhooks accepted", columns: []string{"Understudy", "bare SignalWithStart"},
		rows: []row{
			{what: "a second", cells: []string{fmt.Sprintf("%.0f", rate(took[0])), fmt.Sprintf("%.0f", rate(took[1]))}},
			{what: "share of the bare rate", cells: []string{fmt.Sprintf("%.2f", rate(took[0])/rate(took[1])), "1.00"}, beat: "0.70"},
		},
		method: []string{fmt.Sprintf("%d webhooks of one alert each, for %d services, %d at once, in turns with the same signals to the same guards", 2*postTurns*postBlock, postServices, postLanes)},
	}, nil
}

func postService(i int) string { return fmt.Sprintf("post-%02d", i%postServices) }

// inLanes does a block of something, so many at once.
func inLanes(ctx context.Context, first int, do func(ctx context.Context, i int) error) error {
	var all sync.WaitGroup
	failed := make([]error, postLanes)
	for lane := range postLanes {
		all.Go(func() {
			for i := first + lane; i < first+postBlock && failed[lane] == nil; i += postLanes {
				failed[lane] = do(ctx, i)
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

// dialEngine connects with the engine within an Understudy.
func dialEngine(ctx context.Context, u *harness.Understudy) (client.Client, error) {
	keys := u.Keys()
	pair, err := tls.LoadX509KeyPair(keys.Cert, keys.Key)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(pair.Leaf)
	return client.DialContext(ctx, client.Options{
		HostPort: keys.Address, Namespace: harness.EngineNamespace, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
		ConnectionOptions: client.ConnectionOptions{TLS: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ServerName: harness.EngineName}},
	})
}
