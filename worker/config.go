package worker

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/understudy-dr/understudy/runbooks"
)

// Config is what a start needs; commands fill it from flags and the site file.
type Config struct {
	Site runbooks.Site
	// Runbooks are files and directories, in addition to those that the site file names.
	Runbooks []string
	Log      *slog.Logger
	// Version of this program.
	Version string
	// Ready is called once everything answers.
	Ready func()
}

// library reads the runbooks and tells what is not built yet.
func (c Config) library() (*runbooks.Library, error) {
	paths := append(append([]string{}, c.Site.Runbooks...), c.Runbooks...)
	if len(paths) == 0 {
		return nil, fmt.Errorf("no runbooks: name files or directories in the site file (runbooks:) or with --runbooks")
	}
	library, problems := runbooks.LoadLibrary(paths...)
	for _, notice := range problems.Notices() {
		c.Log.Warn(notice.String())
	}
	if err := problems.Err(); err != nil {
		return nil, fmt.Errorf("runbooks cannot be used:\n%w", err)
	}
	return library, nil
}

// engineName names this Understudy where others read it: the host, and an id
// that stays with the data directory.
func engineName(dataDir string) (string, error) {
	path := filepath.Join(dataDir, "name")
	if text, err := os.ReadFile(path); err == nil && len(text) > 0 {
		return strings.TrimSpace(string(text)), nil
	}
	host, err := os.Hostname()
	if err != nil {
		host = "understudy"
	}
	name := host + "/" + uuid.NewString()[:8]
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return "", fmt.Errorf("make data directory: %w", err)
	}
	if err := os.WriteFile(path, []byte(name+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep the name of this Understudy: %w", err)
	}
	return name, nil
}
