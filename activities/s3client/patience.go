package s3client

import (
	"context"
	"net"
	"net/http"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

const (
	// dialTimeout bounds the connecting; a store that needs longer is as good as dead.
	dialTimeout = 3 * time.Second
	// tlsTimeout bounds the handshake.
	tlsTimeout = 5 * time.Second
	// headerTimeout bounds the wait for an answer's first line after the request was sent.
	headerTimeout = 15 * time.Second
	// stallTimeout ends a transfer in which not one byte moved for so long, in either direction.
	stallTimeout = 30 * time.Second
	// idleTimeout is shorter than stallTimeout, so that a kept connection is dropped before it counts as stalled.
	idleTimeout = 20 * time.Second
	// keptConnections is how many connections to one endpoint stay open for the next request.
	keptConnections = 32
)

// patientClient is an HTTP client that waits for ever for nothing, and for a
// body as long as it moves. The SDK's own read timeout is off: it counts only
// what is received, and would cut a long upload.
func patientClient() *awshttp.BuildableClient {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: idleTimeout}
	return awshttp.NewBuildableClient().WithReadTimeout(0).WithTransportOptions(func(t *http.Transport) {
		t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &movingConn{Conn: conn, stall: stallTimeout}, nil
		}
		t.TLSHandshakeTimeout = tlsTimeout
		t.ResponseHeaderTimeout = headerTimeout
		t.IdleConnTimeout = idleTimeout
		t.MaxIdleConnsPerHost = keptConnections
	})
}

// movingConn is a connection that fails once nothing moved for a while. Each
// write gives the other direction new time as well: during a long upload nothing
// comes back.
type movingConn struct {
	net.Conn
	stall time.Duration
}

func (c *movingConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *movingConn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
