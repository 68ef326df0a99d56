// Understudy brings self-hosted speech services back when they fail: alerts,
// people and probes start durable workflows that move a service to a standby,
// prove it with a real inference, and tell what they did.
//
// The program is assembled in package worker; its commands are in
// worker/commands; what a recovery does, step by step, is in
// workflows/recovery.go.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/understudy-dr/understudy/worker/commands"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(commands.Run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
