// Package s3fs mounts model volumes with s3fs, which Debian has and which works
// with every S3-compatible store.
//
// The mount is read-only. Its content goes through a cache on this disk, so that
// the bytes that were hashed before the start are the bytes that the service
// loads, and S3 is read once. Requests give up early: a store that hangs makes
// an error of a read within a minute, not within the half hour of s3fs's defaults.
package s3fs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/understudy-dr/understudy/activities/s3access"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/activities/volumes/internal/fuse"
	"github.com/understudy-dr/understudy/activities/volumes/internal/keyed"
)

const (
	program = "s3fs"
	// awsEndpoint is where s3fs looks where the site file names no endpoint.
	awsEndpoint = "https://s3.%s.amazonaws.com"
	// connectSeconds, silentSeconds and retries bound a request that the store does not answer.
	connectSeconds = 5
	silentSeconds  = 15
	retries        = 2

	passwordFile = "passwd-s3fs"
)

// Config is what the mounter needs.
type Config struct {
	Clients s3access.Clients
	// State is the private directory that remembers the mounts, with their caches. It must outlive Understudy, and
	// have room for the models that are mounted.
	State string
	// Program is the path of s3fs. Default: where the shell would find it.
	Program string
}

var _ volumes.Provider = (*Mounter)(nil)

// Mounter mounts volumes with s3fs.
type Mounter struct{ *keyed.Mounter }

// New returns a mounter. It needs /dev/fuse, and root or fusermount.
func New(c Config) *Mounter {
	if c.Program == "" {
		c.Program = program
	}
	return &Mounter{fuse.New(fuse.Config{Clients: c.Clients, State: c.State}, s3fs{c.Program})}
}

type s3fs struct{ path string }

func (s3fs) Name() string { return program }

func (s s3fs) Command(o fuse.Order) (*exec.Cmd, error) {
	options := []string{"ro", "nodev", "nosuid", "listobjectsv2", "umask=0222", "tmpdir=" + o.Private,
		fmt.Sprintf("connect_timeout=%d", connectSeconds), fmt.Sprintf("readwrite_timeout=%d", silentSeconds), fmt.Sprintf("retries=%d", retries),
		"endpoint=" + o.Access.Region,
	}
	if o.Access.Endpoint != "" {
		options = append(options, "url="+o.Access.Endpoint)
	} else {
		options = append(options, fmt.Sprintf("url="+awsEndpoint, o.Access.Region))
	}
	if o.Access.PathStyle {
		options = append(options, "use_path_request_style")
	}
	if o.Others {
		options = append(options, "allow_other")
	}
	if o.Cache != "" {
		options = append(options, "use_cache="+o.Cache)
	}
	login, err := credentials(o)
	if err != nil {
		return nil, err
	}
	args := []string{o.Access.Bucket + ":/" + o.Prefix, o.Path, "-f"}
	for _, option := range append(options, login) {
		if strings.ContainsAny(option, `,\`) { // they would end the option and begin another
			return nil, fmt.Errorf("%w: s3fs takes no comma and no backslash in %q", volumes.ErrRefused, option)
		}
		args = append(args, "-o", option)
	}
	path, err := exec.LookPath(s.path)
	if err != nil {
		return nil, err
	}
	command := exec.Command(path, args...)
	command.Env, command.Dir = s3access.Bare(), "/"
	return command, nil
}

// credentials hands over long-lived keys in a file. Those of a role end within
// hours, and with them the mount would: on a machine with a role s3fs fetches
// them itself.
func credentials(o fuse.Order) (string, error) {
	c := o.Access.Credentials
	if o.Access.Temporary() {
		if c.Source == roleSource {
			return "iam_role=auto", nil
		}
		return "", fmt.Errorf("%w: the credentials of bucket %s end by themselves, and the mount with them; name access_key and secret_key in the site file, or use mode: copy", volumes.ErrRefused, o.Access.Bucket)
	}
	file := filepath.Join(o.Private, passwordFile)
	if err := os.WriteFile(file, []byte(c.AccessKeyID+":"+c.SecretAccessKey+"\n"), 0o600); err != nil {
		return "", err
	}
	return "passwd_file=" + file, nil
}

// roleSource is what the AWS SDK calls credentials that a machine's role has.
const roleSource = "EC2RoleProvider"
