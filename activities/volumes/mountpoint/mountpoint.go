// Package mountpoint mounts model volumes with mount-s3, the Mountpoint for
// Amazon S3: within AWS several times faster than s3fs.
//
// The mount is read-only. Where the disk has room its content goes through a
// cache, so that what was hashed before the start need not be fetched again.
package mountpoint

import (
	"os"
	"os/exec"
	"path/filepath"

	"github.com/understudy-dr/understudy/activities/s3access"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/activities/volumes/internal/fuse"
	"github.com/understudy-dr/understudy/activities/volumes/internal/keyed"
)

const (
	program         = "mount-s3"
	credentialsFile = "credentials"
)

// Config is what the mounter needs.
type Config struct {
	Clients s3access.Clients
	// State is the private directory that remembers the mounts, with their caches. It must outlive Understudy, and
	// have room for the models that are mounted.
	State string
	// Program is the path of mount-s3. Default: where the shell would find it.
	Program string
}

var _ volumes.Provider = (*Mounter)(nil)

// Mounter mounts volumes with mount-s3.
type Mounter struct{ *keyed.Mounter }

// New returns a mounter. It needs /dev/fuse, and root or fusermount.
func New(c Config) *Mounter {
	if c.Program == "" {
		c.Program = program
	}
	return &Mounter{fuse.New(fuse.Config{Clients: c.Clients, State: c.State}, mountS3{c.Program})}
}

type mountS3 struct{ path string }

func (mountS3) Name() string { return program }

// Command follows the options that Mountpoint's documentation describes
// (doc/CONFIGURATION.md, version 1.7 and newer). A model does not change while
// it is mounted, so that its metadata needs to be asked for once.
func (m mountS3) Command(o fuse.Order) (*exec.Cmd, error) {
	args := []string{"--foreground", "--read-only", "--metadata-ttl", "indefinite", "--file-mode", "0444", "--dir-mode", "0555",
		"--region", o.Access.Region}
	if o.Access.Endpoint != "" {
		args = append(args, "--endpoint-url", o.Access.Endpoint)
	}
	if o.Access.PathStyle {
		args = append(args, "--force-path-style")
	}
	if o.Prefix != "" {
		args = append(args, "--prefix", o.Prefix+"/")
	}
	if o.Others {
		args = append(args, "--allow-other")
	}
	if o.Cache != "" {
		args = append(args, "--cache", o.Cache)
	}
	path, err := exec.LookPath(m.path)
	if err != nil {
		return nil, err
	}
	command := exec.Command(path, append(args, o.Access.Bucket, o.Path)...)
	command.Dir = "/"
	if o.Access.Temporary() {
		// A role's credentials end within hours; mount-s3 knows the AWS tools' sources and fetches them anew.
		command.Env = os.Environ()
		return command, nil
	}
	file := filepath.Join(o.Private, credentialsFile)
	if err := os.WriteFile(file, o.Access.File(), 0o600); err != nil {
		return nil, err
	}
	command.Env = o.Access.Environment(file)
	return command, nil
}
