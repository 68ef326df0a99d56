package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// HAProxyServer is a running HAProxy in master-worker mode. Signal, Freeze,
// Kill and Stop come from its process and reach the workers too.
type HAProxyServer struct {
	*Process
	// Socket is the path of its stats socket, level admin.
	Socket string
	config string
	swept  chan struct{}
}

// HAProxy starts an HAProxy with a configuration in dir. The stats socket is
// added to the configuration, which may have a global section of its own.
func HAProxy(ctx context.Context, dir, config string) (*HAProxyServer, error) {
	path, err := Find("haproxy", "haproxy")
	if err != nil {
		return nil, err
	}
	// The path of a Unix socket has at most 107 bytes, and HAProxy adds a number to it while it binds; directories
	// of tests are often longer.
	sockets, err := os.MkdirTemp("", "haproxy-")
	if err != nil {
		return nil, fmt.Errorf("start haproxy: %w", err)
	}
	h := &HAProxyServer{Socket: filepath.Join(sockets, "admin.sock"), config: filepath.Join(dir, "haproxy.cfg")}
	own := filepath.Join(dir, "harness.cfg")
	text := fmt.Sprintf("global\n  stats socket %s level admin mode 600\n", h.Socket)
	err = errors.Join(os.WriteFile(own, []byte(text), 0o644), os.WriteFile(h.config, []byte(config), 0o644))
	if err == nil {
		h.Process, err = Start(ctx, Spec{
			Name: "haproxy",
			Path: path,
			Args: []string{"-W", "-db", "-f", own, "-f", h.config},
			Dir:  dir,
			Ready: func(ctx context.Context) error {
				_, err := h.worker(ctx)
				return err
			},
		})
	}
	if err != nil {
		os.RemoveAll(sockets)
		return nil, err
	}
	h.sweep()
	return h, nil
}

// Restart starts HAProxy again after Kill or Stop, with its last configuration.
func (h *HAProxyServer) Restart(ctx context.Context) error {
	<-h.swept
	if err := h.vanish(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(h.Socket), 0o700); err != nil {
		return err
	}
	p, err := Start(ctx, h.Spec)
	if err != nil {
		return err
	}
	h.Process = p
	h.sweep()
	return nil
}

// sweep removes the socket's directory once the process has ended.
func (h *HAProxyServer) sweep() {
	done, swept := h.Done(), make(chan struct{})
	h.swept = swept
	go func() {
		defer close(swept)
		<-done
		os.RemoveAll(filepath.Dir(h.Socket))
	}()
}

// Reload replaces the configuration and makes the master start a new worker, as
// systemctl reload does. It returns when the new worker answers at the socket;
// the old one ends with its last connection.
func (h *HAProxyServer) Reload(ctx context.Context, config string) error {
	before, err := h.worker(ctx)
	if err != nil {
		return fmt.Errorf("reload haproxy: %w", err)
	}
	if err := os.WriteFile(h.config, []byte(config), 0o644); err != nil {
		return fmt.Errorf("reload haproxy: %w", err)
	}
	reloads := h.reloads()
	var sent time.Time
	err = h.await(ctx, func(ctx context.Context) error {
		// A master that is not through with its last reload loses the signal; it says so when it takes one.
		if h.reloads() == reloads && time.Since(sent) > time.Second {
			sent = time.Now()
			// Only the master takes this signal: to a worker it means something else.
			if err := syscall.Kill(h.PID(), syscall.SIGUSR2); err != nil {
				return err
			}
		}
		now, err := h.worker(ctx)
		if err == nil && now == before {
			err = errors.New("the old worker still answers")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("reload haproxy: %w\n%s", err, h.Tail(2000))
	}
	return nil
}

// Command sends one line to the stats socket and returns the answer.
func (h *HAProxyServer) Command(ctx context.Context, line string) (string, error) {
	conn, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "unix", h.Socket)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// reloads counts what the master took for a reload.
func (h *HAProxyServer) reloads() int {
	return strings.Count(h.Tail(1<<20), ": Reloading HAProxy")
}

// worker is the process id of the worker that answers at the socket.
func (h *HAProxyServer) worker(ctx context.Context) (string, error) {
	info, err := h.Command(ctx, "show info")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(info) {
		if pid, ok := strings.CutPrefix(line, "Pid: "); ok {
			return strings.TrimSpace(pid), nil
		}
	}
	return "", errors.New("haproxy's socket names no worker")
}
