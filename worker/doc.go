// Package worker is the ASSEMBLY: the only room that knows implementations. It
// reads the configuration, makes the providers, connects them with the engine,
// and runs triggers and workers until it is told to stop.
//
// [Serve] is the whole program; [Work] is only a worker, beside a cluster.
package worker
