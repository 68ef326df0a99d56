package files_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/replica/files"
	"github.com/understudy-dr/understudy/activities/replica/replicatest"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/runbooks"
)

var traits = replicatest.Traits{
	New: func(c replicatest.Config) replica.Replica {
		return files.New(files.Config{Clients: c.Clients, State: c.State})
	},
	Data: func(url, path string) runbooks.Data {
		return runbooks.Data{Kind: "files", Bucket: url, Path: path}
	},
	Write:  write,
	Read:   read,
	Beside: func(string) []string { return nil },
}

func TestMain(m *testing.M) { replicatest.Main(m, traits) }

func TestReplica(t *testing.T) { replicatest.Run(t, traits) }

// writer is a service that writes a file per item, with a syncer beside it.
type writer struct {
	t      *testing.T
	config files.SyncerConfig
	stop   context.CancelFunc
	done   chan struct{}
}

func write(t *testing.T, store runbooks.S3, d runbooks.Data, epoch int64) replicatest.Writer {
	t.Helper()
	if err := os.MkdirAll(d.Path, 0o755); err != nil {
		t.Fatal(err)
	}
	w := &writer{t: t, config: files.SyncerConfig{
		Clients: s3client.New(map[string]runbooks.S3{"default": store}), Dir: d.Path, Bucket: d.Bucket, Epoch: epoch,
		Interval: 20 * time.Millisecond, Settle: 20 * time.Millisecond,
		Tell: func(r files.Round) {
			if r.Err != nil {
				t.Error(r.Err)
			}
		},
	}}
	w.Revive()
	t.Cleanup(w.Kill)
	return w
}

func (w *writer) Write(item string) {
	w.t.Helper()
	content := make([]byte, 32<<10)
	_, _ = rand.Read(content)
	path := filepath.Join(w.config.Dir, "2026", item+".wav")
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *writer) Kill() {
	w.stop()
	<-w.done
}

func (w *writer) Revive() {
	w.t.Helper()
	syncer, err := files.NewSyncer(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	w.stop, w.done = stop, done
	go func() {
		defer close(done)
		_ = syncer.Run(ctx)
	}()
}

func read(t *testing.T, path string) []string {
	t.Helper()
	var items []string
	err := filepath.WalkDir(path, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if info, err := e.Info(); err != nil || info.Size() != 32<<10 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
		base := filepath.Base(path)
		items = append(items, base[:len(base)-len(".wav")])
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	slices.Sort(items)
	return items
}
