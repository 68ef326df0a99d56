package sources

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/files"
	"github.com/understudy-dr/understudy/activities/s3client"
)

func TestADeadMountHoldsNobodyUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "digits.wav")
	if err := os.WriteFile(path, []byte("RIFF"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := New(s3client.New(nil))
	hanging := &localRead{done: make(chan struct{})}
	s.reading[path] = hanging // as a read leaves it that never ends
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if _, err := s.Read(ctx, path); !errors.Is(err, files.ErrUnavailable) {
			t.Errorf("got %v, want ErrUnavailable", err)
		}
		cancel()
	}
	if s.reading[path] != hanging {
		t.Error("another read was begun beside the one that hangs")
	}
	hanging.content = []byte("late")
	close(hanging.done)
	if got, err := s.Read(t.Context(), path); err != nil || string(got) != "late" {
		t.Errorf("when the mount is back: %q, %v", got, err)
	}
}
