package embedded

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"go.temporal.io/server/common/config"
	sqliteschema "go.temporal.io/server/schema/sqlite"
	"google.golang.org/protobuf/types/known/durationpb"

	_ "modernc.org/sqlite" // the driver of the file, under the name that the server registers it by
)

const (
	fileName   = "temporal.db"
	recordName = "engine.json"
	lockName   = "lock"
)

// record says which server wrote the file beside it.
type record struct {
	ServerVersion string    `json:"server_version"`
	Created       time.Time `json:"created"`
}

// lock keeps a data directory for one process: two servers on one file would
// both start and serve, without any error.
type lock struct{ file *flock.Flock }

func acquire(dir string) (*lock, error) {
	file := flock.New(filepath.Join(dir, lockName))
	ok, err := file.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock data directory %s: %w", dir, err)
	}
	if !ok {
		return nil, fmt.Errorf("data directory %s is in use by another Understudy; stop that one, or choose another directory with --data-dir", dir)
	}
	return &lock{file}, nil
}

func (l *lock) release() error { return l.file.Unlock() }

// prepareFile makes the engine's file, or checks the one that is there, and
// puts the way to it into the server's configuration.
func prepareFile(opts Options, server *config.Config) error {
	path := filepath.Join(opts.DataDir, fileName)
	_, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = createFile(opts, path)
	case err == nil:
		err = checkVersion(opts.DataDir)
	}
	if err != nil {
		return err
	}
	if err := checkDurable(path); err != nil {
		return err
	}
	server.Persistence = config.Persistence{
		DefaultStore:     "sqlite",
		VisibilityStore:  "sqlite",
		NumHistoryShards: 1,
		DataStores:       map[string]config.DataStore{"sqlite": {SQL: database(path)}},
	}
	return nil
}

// createFile makes the file under a temporary name, so that a crash leaves
// either no file or a whole one.
func createFile(opts Options, path string) error {
	temporary := path + ".new"
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(temporary + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("make the engine's file: %w", err)
		}
	}
	// A rollback journal leaves nothing beside the file that a rename would lose.
	plain := database(temporary)
	plain.ConnectAttributes["journal_mode"] = "delete"
	if err := sqliteschema.SetupSchema(plain); err != nil {
		return fmt.Errorf("make the engine's file: %w", err)
	}
	namespace, err := sqliteschema.NewNamespaceConfig(clusterName, opts.Namespace, false, opts.SearchAttributes)
	if err != nil {
		return fmt.Errorf("make the engine's namespace: %w", err)
	}
	namespace.Detail.Config.Retention = durationpb.New(Retention)
	if err := sqliteschema.CreateNamespaces(plain, namespace); err != nil {
		return fmt.Errorf("make the engine's namespace: %w", err)
	}
	text, err := json.Marshal(record{ServerVersion: ServerVersion, Created: time.Now().UTC()})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(opts.DataDir, recordName), text, 0o600); err != nil {
		return fmt.Errorf("record the engine's version: %w", err)
	}
	return os.Rename(temporary, path)
}

// checkVersion refuses a file of another server: its tables may differ, and
// the server would find out only in the middle of its work.
func checkVersion(dir string) error {
	path := filepath.Join(dir, recordName)
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("the engine's file in %s has no record of the server version that wrote it: %w; restore %s, or move the directory away to start anew", dir, err, recordName)
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("read %s: %w; restore it, or move the directory away to start anew", path, err)
	}
	if r.ServerVersion != ServerVersion {
		return fmt.Errorf("the engine's file in %s was written by Temporal server %s, this program holds %s, and the server does not migrate such files; "+
			"finish with the Understudy that wrote it, or move the directory away and start anew: reports stay readable, epochs come from the epoch store", dir, r.ServerVersion, ServerVersion)
	}
	return nil
}

// checkDurable opens the file as the server will and reads the settings back
// that decide whether an acknowledged alert survives a power cut.
func checkDurable(path string) error {
	store := database(path)
	var pragmas []string
	for name, value := range store.ConnectAttributes {
		if name != "mode" {
			pragmas = append(pragmas, fmt.Sprintf("_pragma=%s=%s", name, value))
		}
	}
	db, err := sql.Open("sqlite", fmt.Sprintf("file:%s?mode=rwc&%s", path, strings.Join(pragmas, "&")))
	if err != nil {
		return fmt.Errorf("open the engine's file: %w", err)
	}
	defer db.Close()
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "5000"} {
		var got string
		if err := db.QueryRow("pragma " + pragma).Scan(&got); err != nil {
			return fmt.Errorf("read %s of the engine's file: %w", pragma, err)
		}
		if got != want {
			return fmt.Errorf("the engine's file has %s=%s, not %s: a crash could lose what was acknowledged; is the data directory on a network file system?", pragma, got, want)
		}
	}
	return nil
}
