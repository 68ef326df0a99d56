// Package harness starts the real parts around Understudy: load balancers,
// Prometheus, Alertmanager, object stores, speech servers. Tests and the demo
// share it, so it knows nothing of package testing.
//
// Every part runs in a directory of its own, on loopback, on ports found free
// at its start, and dies with the program that started it.
package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Spec describes a process to start.
type Spec struct {
	Name string
	Path string
	Args []string
	// Env is added to the environment of this program.
	Env []string
	// Dir is where the process starts and where its output is kept as Name.log.
	Dir string
	// Ready is asked until it returns nil; nil asks nothing. The process must live meanwhile.
	Ready func(ctx context.Context) error
}

// Process is a running part.
type Process struct {
	Spec Spec
	cmd  *exec.Cmd
	done chan struct{}
	err  error
	log  *os.File
}

// Start starts a process and waits until it is ready or the context ends; on an
// error the process is gone, and the error quotes the end of its output.
func Start(ctx context.Context, spec Spec) (*Process, error) {
	log, err := os.OpenFile(filepath.Join(spec.Dir, spec.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	p := &Process{Spec: spec, done: make(chan struct{}), log: log}
	p.cmd = exec.Command(spec.Path, spec.Args...)
	p.cmd.Dir, p.cmd.Env = spec.Dir, append(os.Environ(), spec.Env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	if spec.Ready == nil {
		return p, nil
	}
	if err := p.await(ctx, spec.Ready); err != nil {
		p.Kill()
		return nil, fmt.Errorf("start %s: %w\n%s", spec.Name, err, p.Tail(2000))
	}
	return p, nil
}

// run keeps the thread that started the process: the kernel sends the death
// signal when that thread ends, not when the program does.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	p.err = p.cmd.Wait()
	close(p.done)
}

func (p *Process) await(ctx context.Context, ready func(context.Context) error) error {
	var last error
	for {
		if last = ready(ctx); last == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("it ended before it was ready: %v", p.err)
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w (last: %v)", ctx.Err(), last)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how the process ended; to be asked after Done.
func (p *Process) Err() error { return p.err }

// Signal sends a signal to the process and to those that it started.
func (p *Process) Signal(sig syscall.Signal) { _ = syscall.Kill(-p.PID(), sig) }

// Kill ends the process at once and waits for its end.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Stop asks the process to end, and kills it after the patience is over.
func (p *Process) Stop(patience time.Duration) {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
	}
	p.Kill()
}

// Tail is the end of the process's output.
func (p *Process) Tail(bytes int64) string {
	info, err := p.log.Stat()
	if err != nil {
		return ""
	}
	text := make([]byte, min(bytes, info.Size()))
	n, _ := p.log.ReadAt(text, info.Size()-int64(len(text)))
	return string(text[:n])
}

// Address is host:port of a port on loopback.
func Address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// Listening is ready when somebody accepts connections at the address.
func Listening(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			conn.Close()
		}
		return err
	}
}

// Responding is ready when a GET of the URL answers with status 200.
func Responding(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("GET %s: %s", url, resp.Status)
		}
		return nil
	}
}

// Find looks for a program; the error says how to get it.
func Find(program, debianPackage string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/bin"} {
			if _, err := os.Stat(filepath.Join(dir, program)); err == nil {
				return filepath.Join(dir, program), nil
			}
		}
		return "", errors.New(program + " is not installed: apt-get install " + debianPackage)
	}
	return path, nil
}
