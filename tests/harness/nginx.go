package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// NginxServer is a running nginx. Signal, Freeze, Kill and Stop come from its
// process and reach the workers too.
type NginxServer struct {
	*Process
	// Dir is its prefix: relative paths in its configuration are below it.
	Dir string
	// Test and Reload are the commands that check its configuration and load it anew.
	Test, Reload []string
}

// Nginx starts an nginx with a configuration in dir, which becomes its prefix,
// and waits until it listens at the address. The configuration must not say
// daemon, pid, user or error_log outside of http: the harness does.
func Nginx(ctx context.Context, dir, config, address string) (*NginxServer, error) {
	path, err := Find("nginx", "nginx-light")
	if err != nil {
		return nil, err
	}
	n := &NginxServer{Dir: dir}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, fmt.Errorf("start nginx: %w", err)
	}
	globals := fmt.Sprintf("daemon off; pid %s; error_log %s;", filepath.Join(dir, "nginx.pid"), filepath.Join(dir, "error.log"))
	if os.Geteuid() == 0 {
		// Its workers would be nobody, who may not enter the directories of tests.
		globals += " user root;"
	}
	command := []string{path, "-p", dir, "-c", file, "-g", globals}
	n.Test = append(command[:len(command):len(command)], "-t")
	n.Reload = append(command[:len(command):len(command)], "-s", "reload")
	n.Process, err = Start(ctx, Spec{Name: "nginx", Path: path, Args: command[1:], Dir: dir, Ready: Listening(address)})
	if err != nil {
		log, readErr := os.ReadFile(filepath.Join(dir, "error.log"))
		if len(log) > 2000 {
			log = log[len(log)-2000:]
		}
		if readErr == nil {
			err = errors.Join(err, errors.New(string(log)))
		}
		return nil, err
	}
	return n, nil
}

// Restart starts nginx again after Kill or Stop, with the configuration that its files have now.
func (n *NginxServer) Restart(ctx context.Context) error {
	if err := n.vanish(ctx); err != nil {
		return err
	}
	p, err := Start(ctx, n.Spec)
	if err != nil {
		return err
	}
	n.Process = p
	return nil
}
