package harness

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/understudy-dr/understudy/activities/compute/images"
)

const (
	// SpeechImage is the name of the image that BuildSpeechImage builds.
	SpeechImage = "speech"
	// GuestProgram is where the speech server is on that image, GuestLogin the file with the store's credentials.
	GuestProgram = "/usr/local/bin/speech-site"
	GuestLogin   = "/etc/understudy/s3-credentials"
	// GuestHost is this host's loopback, as a machine with user-mode networking sees it.
	GuestHost = "10.0.2.2"

	imagesPackage = "github.com/understudy-dr/understudy/activities/compute/images"
)

// FindVM looks for the programs that virtual machines need, and those that build
// their images; the error says how to get them.
func FindVM() error {
	for _, need := range []struct{ program, debianPackage string }{
		{"qemu-system-x86_64", "qemu-system-x86"}, {"qemu-img", "qemu-utils"}, {"debootstrap", "debootstrap"}, {"mkfs.ext4", "e2fsprogs"},
		{"virsh", "libvirt-clients"}, {"libvirtd", "libvirt-daemon libvirt-daemon-driver-qemu"}, {"socat", "socat"},
	} {
		if _, err := Find(need.program, need.debianPackage); err != nil {
			return err
		}
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("images are built by root only")
	}
	return nil
}

// BuildSpeechImage builds a slim image of the sample site's speech server, and
// returns the directory that it is in. Its version follows from what is in it:
// one that was built before is taken as it is. Building takes a minute or two.
func BuildSpeechImage(ctx context.Context, tell io.Writer) (dir string, m images.Manifest, err error) {
	if err := FindVM(); err != nil {
		return "", m, err
	}
	litestream, err := FindLitestream()
	if err != nil {
		return "", m, err
	}
	err = aloneIn("understudy-images", func(built string) error {
		dir = built
		program, login := filepath.Join(dir, "speech-site"), filepath.Join(dir, "s3-credentials")
		build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", program, sitePackage)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if err := quietly(build); err != nil {
			return err
		}
		credentials := "[default]\naws_access_key_id = " + minioAccessKey + "\naws_secret_access_key = " + minioSecretKey + "\n"
		if err := os.WriteFile(login, []byte(credentials), 0o600); err != nil {
			return err
		}
		version, err := contents(ctx, program, litestream, login)
		if err != nil {
			return err
		}
		if m, err = images.ReadManifest(dir, images.Ref{Name: SpeechImage, Version: version}); err == nil {
			return nil
		}
		description := filepath.Join(dir, SpeechImage+".yaml")
		text := fmt.Sprintf(`name: %s
version: %q
packages: [s3fs, pocketsphinx, sox, sqlite3]
memory: 512
files:
  - {from: %s, to: %s, mode: "0755"}
  - {from: %s, to: /usr/local/bin/litestream, mode: "0755"}
  - {from: %s, to: %s, mode: "0600"}
`, SpeechImage, version, program, GuestProgram, litestream, login, GuestLogin)
		if err := os.WriteFile(description, []byte(text), 0o644); err != nil {
			return err
		}
		d, err := images.ReadDescription(description)
		if err != nil {
			return err
		}
		m, err = images.Build(ctx, d, dir, tell)
		return err
	})
	if err != nil {
		return "", m, fmt.Errorf("build the image of the speech server: %w", err)
	}
	return dir, m, nil
}

// contents is a version for what goes into an image: files, and the scripts by
// which it is built.
func contents(ctx context.Context, files ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", imagesPackage).Output()
	if err != nil {
		return "", fmt.Errorf("find the scripts that build images: %w", err)
	}
	scripts, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "*.sh"))
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, file := range append(files, scripts...) {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%x\n", sha256.Sum256(text))
	}
	return fmt.Sprintf("%.6x", sum.Sum(nil)), nil
}
