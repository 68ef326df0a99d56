package home

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-dr/understudy/activities/atomicfile"
)

const (
	// programWithin bounds one run of a command that stops or starts the service.
	programWithin = 2 * time.Minute
	// saidMost is how much of what a command wrote is told.
	saidMost = 300
)

var _ Service = (*Commands)(nil)

// Commands stop and start a service by programs of the host: systemctl, say.
// Both must return when it is done, and may be run twice. One that is empty does nothing.
type Commands struct {
	StopBy, StartBy []string
	// Env is a file that they and the service's units may read: it names the epoch and where its data replicates to.
	Env string
	// Service is its name in the runbook.
	Service string
}

// Stop runs the command that stops the service.
func (c *Commands) Stop(ctx context.Context) error { return c.run(ctx, c.StopBy, nil) }

// Start writes the environment, and runs the command that starts the service with it.
func (c *Commands) Start(ctx context.Context, epoch int64, prefixes []string) error {
	env, err := c.write(epoch, prefixes)
	if err != nil {
		return err
	}
	return c.run(ctx, c.StartBy, env)
}

// Resume writes the environment, for units that start by themselves.
func (c *Commands) Resume(_ context.Context, epoch int64, prefixes []string) error {
	_, err := c.write(epoch, prefixes)
	return err
}

func (c *Commands) write(epoch int64, prefixes []string) (map[string]string, error) {
	env := map[string]string{"UNDERSTUDY_SERVICE": c.Service, "UNDERSTUDY_EPOCH": strconv.FormatInt(epoch, 10)}
	for i, prefix := range prefixes {
		env["UNDERSTUDY_REPLICA_"+strconv.Itoa(i)] = prefix
	}
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(&text, "%s=%q\n", name, env[name])
	}
	return env, atomicfile.Write(c.Env, []byte(text.String()), 0o644)
}

func (c *Commands) run(ctx context.Context, argv []string, env map[string]string) error {
	if len(argv) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, programWithin)
	defer cancel()
	// A file takes what they write, and no pipe: what they start keeps it open.
	out, err := os.CreateTemp(filepath.Dir(c.Env), ".output-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(out.Name()); _ = out.Close() }()
	command := exec.CommandContext(ctx, argv[0], argv[1:]...)
	command.Stdout, command.Stderr = out, out
	command.Env = os.Environ()
	for name, value := range env {
		command.Env = append(command.Env, name+"="+value)
	}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", argv[0], errors.Join(err, context.Cause(ctx)), lastWords(out))
	}
	return nil
}

func lastWords(out *os.File) string {
	end, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	text := make([]byte, min(end, saidMost))
	_, _ = out.ReadAt(text, end-int64(len(text)))
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(text), "")), " ")
}
