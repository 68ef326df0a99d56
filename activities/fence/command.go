package fence

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/understudy-dr/understudy/activities/probe"
)

const (
	// tailLimit is how much of an output is quoted, in characters.
	tailLimit = 500
	// drainPatience is how long an output is still read after its program has ended; a child that stays may hold it open.
	drainPatience = time.Second
	usualPath     = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// runCommand runs a program without a shell, with nothing of our environment but
// PATH and HOME, which may hold secrets. At the end of the context the program
// and all that it started are killed.
func runCommand(ctx context.Context, command []string, env map[string]string) error {
	if len(command) == 0 {
		return errors.New("the command is empty")
	}
	var said tail
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = environment(env)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = drainPatience
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it ended well and left a child behind
	}
	if err == nil {
		return nil
	}
	if text := said.String(); text != "" {
		return fmt.Errorf("%s: %w, saying: %s", command[0], err, text)
	}
	return fmt.Errorf("%s: %w", command[0], err)
}

func environment(env map[string]string) []string {
	path := os.Getenv("PATH")
	if path == "" {
		path = usualPath
	}
	all := []string{"PATH=" + path, "HOME=" + os.Getenv("HOME")}
	for name, value := range env {
		all = append(all, name+"="+value)
	}
	slices.Sort(all)
	return all
}

// tail keeps the end of an output.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const keep = 4 * tailLimit // a character has up to 4 bytes
	t.text = append(t.text, p[max(0, len(p)-keep):]...)
	t.text = append(t.text[:0], t.text[max(0, len(t.text)-keep):]...)
	return len(p), nil
}

// String is the last characters of the output, on one line.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := []rune(probe.Printable(strings.ToValidUTF8(string(t.text), ""), len(t.text)))
	return string(text[max(0, len(text)-tailLimit):])
}
