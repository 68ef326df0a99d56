// Engine runs Understudy's Temporal server alone, in a process of its own, so
// that tests can kill it while Understudy lives. It keeps its data and its keys
// in a directory and serves until it is told to stop.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"go.temporal.io/sdk/worker"

	"github.com/understudy-dr/understudy/worker/embedded"
	"github.com/understudy-dr/understudy/workflows"
)

func main() {
	data := flag.String("data", "", "directory of the engine's file and keys")
	address := flag.String("address", "127.0.0.1:7233", "numeric IP and port of the front end; the three ports above it are taken as well")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *data, *address); err != nil {
		fmt.Fprintln(os.Stderr, "engine:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, data, address string) error {
	// Else the server's own workers read this whole program to tell it by its hash.
	worker.SetBinaryChecksum("engine")
	engine, err := embedded.Start(ctx, embedded.Options{
		DataDir: data, Address: address, Namespace: "default", SearchAttributes: workflows.SearchAttributes,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return engine.Stop()
}
