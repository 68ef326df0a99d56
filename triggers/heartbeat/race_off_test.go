//go:build !race

package heartbeat_test

// racing says that the race detector is on, which costs several times the processor.
const racing = false
