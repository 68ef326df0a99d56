package harness

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Wire is a TCP connection point in front of a server, with faults on demand. It
// runs in this process, by toxiproxy.
type Wire struct {
	// Address to connect to, as host:port.
	Address string
	proxy   *toxiproxy.Proxy
	gate    *gate
}

// NewWire puts a wire in front of a server at host:port.
func NewWire(upstream string) (*Wire, error) {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	w := &Wire{Address: Address(FreePort()), gate: &gate{}}
	w.gate.open()
	w.proxy = toxiproxy.NewProxy(server, w.Address, w.Address, upstream)
	registerGate()
	gates.Store(w.Address, w.gate)
	for _, stream := range []string{"upstream", "downstream"} {
		toxic := fmt.Sprintf(`{"name": %q, "type": %q, "stream": %q, "attributes": {"wire": %q, "from_server": %t}}`,
			stream, gateToxic, stream, w.Address, stream == "downstream")
		if _, err := w.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			return nil, fmt.Errorf("start toxiproxy: %w", err)
		}
	}
	if err := w.proxy.Start(); err != nil {
		return nil, fmt.Errorf("start toxiproxy: %w", err)
	}
	return w, nil
}

// Stall lets the server accept and never answer: nothing passes in either
// direction, on connections that are open and on new ones.
func (w *Wire) Stall() { w.gate.close() }

// StallAfter stalls the wire once so many bytes more have come from the server,
// and closes the channel that it returns when that happens.
func (w *Wire) StallAfter(bytes int64) <-chan struct{} { return w.gate.closeAfter(bytes) }

// Cut refuses new connections and breaks those that are open.
func (w *Wire) Cut() { w.proxy.Stop() }

// Heal ends every fault. Connections that are open break.
func (w *Wire) Heal() error {
	w.proxy.Stop()
	w.gate.open()
	if err := w.proxy.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
		return fmt.Errorf("heal the wire: %w", err)
	}
	return nil
}

// Close takes the wire away.
func (w *Wire) Close() {
	w.proxy.Stop()
	gates.Delete(w.Address)
}

// gateToxic holds up a connection until its wire's gate is opened. Toxiproxy's
// own toxics are added to connections and taken from them while those are open,
// which deadlocks when one ends at that moment.
const gateToxic = "gate"

var (
	gates        sync.Map // by address of the wire
	registerGate = sync.OnceFunc(func() { toxics.Register(gateToxic, &gatekeeper{}) })
)

// gate lets everything pass while its channel is closed.
type gate struct {
	mu sync.Mutex
	ch chan struct{}
	// left is how many bytes may yet come from the server; then stalled is closed, and the gate too.
	left    int64
	stalled chan struct{}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ch == nil {
		g.ch = make(chan struct{})
	}
	select {
	case <-g.ch:
	default:
		close(g.ch)
	}
	g.stalled = nil
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut()
}

func (g *gate) shut() {
	select {
	case <-g.ch:
		g.ch = make(chan struct{})
	default:
	}
}

func (g *gate) closeAfter(bytes int64) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left, g.stalled = bytes, make(chan struct{})
	return g.stalled
}

// passes is closed once so many bytes may pass.
func (g *gate) passes(bytes int, fromServer bool) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stalled != nil && fromServer {
		if g.left -= int64(bytes); g.left < 0 {
			g.shut()
			close(g.stalled)
			g.stalled = nil
		}
	}
	return g.ch
}

type gatekeeper struct {
	Wire       string `json:"wire"`
	FromServer bool   `json:"from_server"`
}

// Pipe implements toxiproxy's interface.
func (k *gatekeeper) Pipe(stub *toxics.ToxicStub) {
	found, ok := gates.Load(k.Wire)
	if !ok {
		stub.Close()
		return
	}
	for {
		select {
		case <-stub.Interrupt:
			return
		case chunk := <-stub.Input:
			if chunk == nil {
				stub.Close()
				return
			}
			select {
			case <-stub.Interrupt:
				return
			case <-found.(*gate).passes(len(chunk.Data), k.FromServer):
				stub.Output <- chunk
			}
		}
	}
}
