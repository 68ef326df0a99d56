package harness

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

// siteProgram is what the scripts start, beside them in the scene's directory.
const siteProgram = "speech-site"

// The scripts of a scene whose data goes home: what starts a cold standby, and
// what a mended primary's host runs.
var (
	//go:embed start-cold.sh
	startColdScript []byte
	//go:embed at-home.sh
	atHomeScript []byte
)

// PutScripts puts into a directory what cold standbys and mended hosts are
// started with, and returns the PATH with which all of it is found.
func PutScripts(ctx context.Context, dir string) (path string, err error) {
	for name, text := range map[string][]byte{"start-cold.sh": startColdScript, "at-home.sh": atHomeScript} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o700); err != nil {
			return "", err
		}
	}
	program, err := BuildSite(ctx)
	if err != nil {
		return "", err
	}
	if err := os.Symlink(program, filepath.Join(dir, siteProgram)); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	litestream, err := FindLitestream()
	return "PATH=" + filepath.Dir(litestream) + ":" + os.Getenv("PATH"), err
}

// homing lets the scene's data go home: the cold standby replicates what it
// writes, and the mended primary takes it over.
func (s *Scene) homing(r *runbooks.Runbook) {
	cold := &r.Tiers[len(r.Tiers)-1]
	cold.Provision.Command, cold.Provision.Dir = []string{"./start-cold.sh"}, s.Dir
	cold.Provision.Env = map[string]string{
		"LISTEN": Address(s.Cold.Port), "MODEL": s.Cold.Mount, "HISTORY": r.Data[0].Path, "S3_ENDPOINT": s.Cold.MinIO.Endpoint, "TMPDIR": s.Dir,
	}
	host := "http://" + Address(FreePort())
	r.Primary.Activate = &runbooks.Activate{URL: host + "/take-over?from={from}&epoch={epoch}", Undo: host + "/give-back?epoch={epoch}"}
}

// Mend starts primary and hot standby again, with the history as it was when
// they died, and beside them the program that takes a newer one home. They and
// their Litestream now belong to that host: Site.Kill does not reach them. The
// program answers at the address of the URL door; by default where the runbook asks it.
func (s *Scene) Mend(ctx context.Context, door string) (err error) {
	for _, old := range []*Process{s.Primary.Process, s.Hot.Process, s.Litestream} {
		old.Kill()
	}
	model, err := BuildModel(ctx, "asr", ModelVersion)
	if err != nil {
		return err
	}
	if door == "" {
		door = s.Runbook.Primary.Activate.URL
	}
	call, err := url.Parse(door)
	if err != nil {
		return err
	}
	if s.hostEnv, err = s.atHome(ctx, model); err != nil {
		return err
	}
	script := filepath.Join(s.Dir, "at-home.sh")
	s.Host, err = Start(ctx, Spec{
		Name: "host", Path: s.Understudy.Spec.Path, Dir: s.Dir, Env: s.hostEnv, Ready: Responding("http://" + call.Host + "/healthz"),
		Args: []string{
			"host", s.Understudy.runbookFile(s.options.Service), "--config", s.Understudy.siteFile(), "--listen", call.Host,
			"--state", filepath.Join(s.Dir, "host"), "--path", s.History, "--stop", script + " stop", "--start", script + " start",
		},
	})
	if err != nil {
		return err
	}
	if err := s.AtHome(ctx, "start"); err != nil {
		return err
	}
	for _, site := range []*Site{s.Primary, s.Hot} {
		for ready := Listening(host(site.URL)); ready(ctx) != nil; {
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s does not come back: %w", site.Options.Name, ctx.Err())
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

func (s *Scene) atHome(ctx context.Context, model string) ([]string, error) {
	path, err := PutScripts(ctx, s.Dir)
	return []string{
		path, "MODEL=" + model, "HISTORY=" + s.History, "PRIMARY=" + host(s.Primary.URL), "HOT=" + host(s.Hot.URL), "S3_ENDPOINT=" + s.Cold.MinIO.Endpoint,
		"SERVICE=" + s.options.Service, "AWS_CA_BUNDLE=", // Litestream does not start with one
	}, err
}

// AtHome starts or stops what the mended host runs.
func (s *Scene) AtHome(ctx context.Context, verb string) error {
	command := exec.CommandContext(ctx, filepath.Join(s.Dir, "at-home.sh"), verb)
	command.Env = append(os.Environ(), s.hostEnv...)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s what the mended host runs: %w: %s", verb, err, strings.TrimSpace(string(out)))
	}
	return nil
}
