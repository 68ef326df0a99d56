package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"go/build"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/secrets"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// LitestreamVersion is the version that the tests were written against.
	LitestreamVersion = "v0.5.18"
	// LitestreamVariable names the environment variable that may hold the path of the litestream program.
	LitestreamVariable = "UNDERSTUDY_LITESTREAM"
)

// LitestreamOptions say what is replicated.
type LitestreamOptions struct {
	// Dir is where configuration and log go.
	Dir string
	// DB is the path of the database.
	DB string
	// Replica is where to: s3://bucket/prefix or file:///directory. An epoch's prefix is part of it.
	Replica string
	// S3 is the store, where the replica is in one.
	S3 runbooks.S3
	// Interval between two uploads. Default 100ms.
	Interval string
}

// Litestream starts a litestream that replicates a database for as long as it runs.
func Litestream(ctx context.Context, o LitestreamOptions) (*Process, error) {
	path, err := FindLitestream()
	if err != nil {
		return nil, err
	}
	if o.Interval == "" {
		o.Interval = "100ms"
	}
	target, err := litestreamTarget(o)
	if err != nil {
		return nil, fmt.Errorf("start litestream: %w", err)
	}
	// JSON is YAML too.
	config, err := json.Marshal(map[string]any{
		"dbs": []any{map[string]any{"path": o.DB, "monitor-interval": o.Interval, "replica": target}},
	})
	if err != nil {
		return nil, fmt.Errorf("start litestream: %w", err)
	}
	file := filepath.Join(o.Dir, "litestream.yml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, fmt.Errorf("start litestream: %w", err)
	}
	return Start(ctx, Spec{
		Name: "litestream", Path: path, Args: []string{"replicate", "-config", file, "-no-expand-env"}, Dir: o.Dir,
		Env: []string{"AWS_CA_BUNDLE="}, // it does not start with one
	})
}

func litestreamTarget(o LitestreamOptions) (map[string]any, error) {
	if dir, ok := strings.CutPrefix(o.Replica, "file://"); ok {
		return map[string]any{"type": "file", "path": dir, "sync-interval": o.Interval}, nil
	}
	at, err := s3client.ParseURL(o.Replica)
	if err != nil {
		return nil, err
	}
	access, err := secrets.Resolve(o.S3.AccessKey)
	if err != nil {
		return nil, err
	}
	secret, err := secrets.Resolve(o.S3.SecretKey)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"type": "s3", "bucket": at.Bucket, "path": at.Key, "region": o.S3.Region, "endpoint": o.S3.Endpoint, "force-path-style": o.S3.PathStyle,
		"access-key-id": access, "secret-access-key": secret, "sync-interval": o.Interval,
	}, nil
}

// FindLitestream looks for the program where people keep programs and where go
// install puts them; the error says how to get it.
func FindLitestream() (string, error) {
	if path := os.Getenv(LitestreamVariable); path != "" {
		return path, nil
	}
	if path, err := exec.LookPath("litestream"); err == nil {
		return path, nil
	}
	dirs := []string{os.Getenv("GOBIN")}
	for _, root := range filepath.SplitList(build.Default.GOPATH) {
		dirs = append(dirs, filepath.Join(root, "bin"))
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, "litestream")
		if info, err := os.Stat(path); dir != "" && err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("litestream is not installed: go install github.com/benbjohnson/litestream/cmd/litestream@%s, or name it in %s", LitestreamVersion, LitestreamVariable)
}
