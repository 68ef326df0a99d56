package litestream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/s3access"
	"github.com/understudy-dr/understudy/activities/s3client"
)

const (
	program = "litestream"
	// killPatience is how long the end of a killed program is awaited.
	killPatience = 5 * time.Second
	// maxSaid is how much of the program's output is kept, and told is how much an error quotes, in bytes.
	maxSaid = 64 << 10
	told    = 500

	configFile      = "litestream.yml"
	credentialsFile = "credentials"
)

// order is one run of the program.
type order struct {
	// replica is the URL of the epoch's prefix.
	replica string
	target  txid
	// to is where the database goes, and private a directory for the program's files.
	to, private string
}

// settings are the part of Litestream's configuration that a restore needs.
// Written as JSON they are YAML too, whatever is in the names.
type settings struct {
	DBs []database `json:"dbs"`
}

type database struct {
	Path    string          `json:"path"`
	Replica replicaSettings `json:"replica"`
}

type replicaSettings struct {
	Type      string `json:"type"`
	Path      string `json:"path"`
	Bucket    string `json:"bucket,omitempty"`
	Region    string `json:"region,omitempty"`
	Endpoint  string `json:"endpoint,omitempty"`
	PathStyle bool   `json:"force-path-style,omitempty"`
}

// run restores a database with the program, which ends with the context and with this process.
func (w way) run(ctx context.Context, o order) error {
	path, err := exec.LookPath(w.program)
	if err != nil {
		return fmt.Errorf("the litestream program is not on this host; install version 0.5.17 or newer: %w", err)
	}
	config, environment, err := w.configure(ctx, o)
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, path, "restore", "-config", config, "-no-expand-env", "-json",
		"-txid", o.target.String(), "-o", o.to, o.to)
	said := &tail{}
	command.Env, command.Dir, command.Stderr = environment, o.private, said
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	command.WaitDelay = killPatience
	done := make(chan error, 1)
	go func() {
		// The kernel ends the program when the thread that started it ends; the thread therefore waits for it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- command.Run()
	}()
	if err := <-done; err != nil {
		return explain(ctx, o, err, said.String())
	}
	return nil
}

// configure writes the program's files, which hold credentials.
func (w way) configure(ctx context.Context, o order) (config string, environment []string, err error) {
	to := replicaSettings{Type: "file"}
	environment = s3access.Bare()
	if dir, ok := strings.CutPrefix(o.replica, fileScheme); ok {
		to.Path = filepath.Clean(dir)
	} else {
		at, err := s3client.ParseURL(o.replica)
		if err != nil {
			return "", nil, err
		}
		access, err := s3access.Of(ctx, w.replica.clients, at.Bucket)
		if err != nil {
			return "", nil, fmt.Errorf("%w: %w", replica.ErrUnavailable, err)
		}
		to = replicaSettings{Type: "s3", Path: at.Key, Bucket: at.Bucket, Region: access.Region, Endpoint: access.Endpoint, PathStyle: access.PathStyle}
		credentials := filepath.Join(o.private, credentialsFile)
		if err := os.WriteFile(credentials, access.File(), 0o600); err != nil {
			return "", nil, err
		}
		environment = access.Environment(credentials)
	}
	content, err := json.Marshal(settings{DBs: []database{{Path: o.to, Replica: to}}})
	if err != nil {
		return "", nil, err
	}
	config = filepath.Join(o.private, configFile)
	return config, environment, os.WriteFile(config, content, 0o600)
}

var (
	// damage is what the program says about files that are not what they should be.
	damage = regexp.MustCompile(`(?i)checksum|corrupt|invalid (ltx|page|header|file)|non-contiguous|malformed|unexpected EOF|decode|lz4`)
	gone   = regexp.MustCompile(`(?i)no matching backup|not available|does not exist|not found`)
)

// explain classifies what the program said.
func explain(ctx context.Context, o order, err error, said string) error {
	last := said[max(0, len(said)-told):]
	what := fmt.Sprintf("litestream restore of %s as of %s: %v: %q", o.replica, o.target, err, strings.TrimSpace(last))
	var ended *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %s: %w", replica.ErrUnavailable, what, ctx.Err())
	case !errors.As(err, &ended):
		return fmt.Errorf("run %s: %w", program, err)
	case damage.MatchString(said):
		return fmt.Errorf("%w: %s", replica.ErrDamaged, what)
	case gone.MatchString(said):
		return fmt.Errorf("%w: %s", replica.ErrNone, what)
	default:
		return fmt.Errorf("%w: %s", replica.ErrUnavailable, what)
	}
}

// tail keeps the end of what is written to it.
type tail struct{ bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	n, err := t.Buffer.Write(p)
	if over := t.Len() - maxSaid; over > 0 {
		t.Next(over)
	}
	return n, err
}
