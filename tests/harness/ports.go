package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Ports that parts are given lie between these: below the range from which the
// kernel takes ports for outgoing connections, or one of those could take a port
// before its part does.
const (
	firstPort = 20000
	lastPort  = 31999
	// blockPorts is how many ports a program takes for itself at a time.
	blockPorts = 100
)

// ports are those that this program may give out: a block of its own at a time.
// Many a part listens long after its port was found, so that a port that is
// merely free could by then be another test program's.
var ports struct {
	sync.Mutex
	next, end int
	// blocks are locked as long as this program lives.
	blocks map[int]*os.File
}

// FreePort finds a TCP port on loopback that nobody listens on. No port is
// returned twice, nor to two programs at once.
func FreePort() int { return freePorts(1) }

// FourPorts finds a port with three free ones above it, as the embedded engine needs.
func FourPorts() int { return freePorts(4) }

// freePorts finds so many ports in a row, and returns the first.
func freePorts(count int) int {
	ports.Lock()
	defer ports.Unlock()
	for {
		if ports.next+count > ports.end {
			ports.next = takeBlock()
			ports.end = ports.next + blockPorts
		}
		first := ports.next
		ports.next += count
		if free(first, count) {
			return first
		}
	}
}

func free(first, count int) bool {
	for port := first; port < first+count; port++ {
		l, err := net.Listen("tcp", Address(port))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

// takeBlock finds a block that no other program has taken, and returns its first
// port. It panics when all are taken, for it could only go on by giving a port twice.
func takeBlock() int {
	dir := filepath.Join(os.TempDir(), "understudy-ports")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		panic("harness: " + err.Error())
	}
	if ports.blocks == nil {
		ports.blocks = map[int]*os.File{}
	}
	const count = (lastPort + 1 - firstPort) / blockPorts
	for _, i := range rand.Perm(count) {
		first := firstPort + i*blockPorts
		if ports.blocks[first] != nil {
			continue
		}
		lock, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(first)), os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			panic("harness: " + err.Error())
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			ports.blocks[first] = lock
			return first
		}
		lock.Close()
	}
	panic(fmt.Sprintf("harness: no ports are left between %d and %d", firstPort, lastPort))
}
