package fence_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/fence"
	"github.com/understudy-dr/understudy/runbooks"
)

func TestCommandsGetNoSecretsOfOurs(t *testing.T) {
	t.Setenv("UNDERSTUDY_TEST_PASSWORD", "hunter2")
	seen := filepath.Join(t.TempDir(), "env")
	_, err := newFencer().Set(t.Context(), fence.Order{
		Fence: runbooks.Fence{Kind: "command", Command: shell("env >" + seen)},
		Env:   map[string]string{"UNDERSTUDY_SERVICE": "fun-asr", "UNDERSTUDY_KEY": "a;b $(touch x)\nc"},
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"PATH=" + os.Getenv("PATH"), "HOME=", "UNDERSTUDY_SERVICE=fun-asr", "UNDERSTUDY_KEY=a;b $(touch x)\nc"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the environment lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "hunter2") {
		t.Errorf("the environment has a secret of ours:\n%s", text)
	}
}

func TestOutputIsQuotedFromItsEnd(t *testing.T) {
	_, err := newFencer().Set(t.Context(), fence.Order{
		Fence: runbooks.Fence{Kind: "command", Command: shell(`i=0; while [ $i -lt 9000 ]; do echo "line $i 语音"; i=$((i+1)); done; printf '\033[31mthe end\000'; exit 1`)},
	})
	if !errors.Is(err, fence.ErrFailed) {
		t.Fatal(err)
	}
	_, quoted, _ := strings.Cut(err.Error(), "saying: ")
	if n := len([]rune(quoted)); n != 500 || !strings.HasSuffix(quoted, "line 8999 语音 .[31mthe end.") {
		t.Errorf("%d characters: %q", n, quoted)
	}
}

// A process that outlives its fence could do its work at any time later.
func TestTheWholeGroupIsKilled(t *testing.T) {
	path, pipe := newPipe(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rest := make(chan string, 1)
	go func() {
		for word := make([]byte, 3); ; time.Sleep(time.Millisecond) {
			if n, _ := pipe.Read(word); n > 0 { // before the child is there, the pipe is at its end
				break
			}
		}
		cancel()
		// The pipe ends when the last process that has it open for writing is gone.
		_ = pipe.SetReadDeadline(time.Now().Add(20 * time.Second))
		text, err := io.ReadAll(pipe)
		rest <- fmt.Sprintf("%s%v", text, err)
	}()
	_, err := newFencer().Set(ctx, fence.Order{Fence: runbooks.Fence{Kind: "command", Command: shell("(echo up; sleep 60) >" + path + " & wait")}})
	if !errors.Is(err, context.Canceled) || errors.Is(err, fence.ErrFailed) {
		t.Errorf("%v", err)
	}
	if got := <-rest; got != "<nil>" {
		t.Errorf("the child lives on: %s", got)
	}
}

// newPipe makes a named pipe that is open for reading already.
func newPipe(t *testing.T) (string, *os.File) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pipe.Close() })
	return path, pipe
}
