package harness

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/understudy-dr/understudy/tests/site/stage"
)

const (
	// ModelVersion is the version of the models that sites load where nobody asks for another.
	ModelVersion = "2512.1"

	sitePackage = "github.com/understudy-dr/understudy/tests/site/speech-site"
)

// SiteOptions describe a speech server to start; the zero value is a good one.
type SiteOptions struct {
	// Name of the process and of its log; default asr or tts.
	Name string
	// Dir is where it writes its log and temporary files; it exists.
	Dir string
	// Model is its model directory; default one of Version from BuildModel.
	Model, Version string
	// Port to answer at; default a free one. AdminPort likewise.
	Port, AdminPort int
	// Args are more flags, such as --blocking or --history FILE.
	Args []string
}

// Site is a running speech server.
type Site struct {
	*Process
	// Options are those that it was started with, defaults filled in.
	Options SiteOptions
	// URL and Admin are its base URLs, without a slash at the end.
	URL, Admin string
}

// StartASR starts a speech recognition server and waits until its model is loaded.
func StartASR(ctx context.Context, options SiteOptions) (*Site, error) {
	return startSite(ctx, "asr", options)
}

// StartTTS starts a speech synthesis server and waits until its model is loaded.
func StartTTS(ctx context.Context, options SiteOptions) (*Site, error) {
	return startSite(ctx, "tts", options)
}

func startSite(ctx context.Context, kind string, o SiteOptions) (*Site, error) {
	program, err := BuildSite(ctx)
	if err != nil {
		return nil, err
	}
	if o.Name == "" {
		o.Name = kind
	}
	if o.Model == "" {
		if o.Version == "" {
			o.Version = ModelVersion
		}
		if o.Model, err = BuildModel(ctx, kind, o.Version); err != nil {
			return nil, err
		}
	}
	if o.Port == 0 {
		o.Port = FreePort()
	}
	if o.AdminPort == 0 {
		o.AdminPort = FreePort()
	}
	address, admin := Address(o.Port), Address(o.AdminPort)
	process, err := Start(ctx, Spec{
		Name: o.Name, Path: program, Dir: o.Dir,
		Args: append([]string{kind, "--model", o.Model, "--listen", address, "--admin", admin}, o.Args...),
		// What a killed server leaves behind goes with its directory.
		Env:   []string{"TMPDIR=" + o.Dir},
		Ready: Listening(address),
	})
	if err != nil {
		return nil, err
	}
	return &Site{Process: process, Options: o, URL: "http://" + address, Admin: "http://" + admin}, nil
}

// Restart starts the server again after Kill or Stop, at the same address.
func (s *Site) Restart(ctx context.Context) error {
	process, err := Start(ctx, s.Spec)
	if err != nil {
		return err
	}
	s.Process = process
	return nil
}

// Fault begins a fault; stage.None ends it.
func (s *Site) Fault(ctx context.Context, fault stage.Fault) error {
	body, err := json.Marshal(fault)
	if err != nil {
		return err
	}
	return s.admin(ctx, http.MethodPost, "/fault", bytes.NewReader(body), nil)
}

// Stats are the requests that the server has seen.
func (s *Site) Stats(ctx context.Context) (stage.Stats, error) {
	var stats stage.Stats
	err := s.admin(ctx, http.MethodGet, "/stats", nil, &stats)
	return stats, err
}

func (s *Site) admin(ctx context.Context, method, path string, body io.Reader, into any) error {
	r, err := http.NewRequestWithContext(ctx, method, s.Admin+path, body)
	if err != nil {
		return err
	}
	// A kept connection would be a dead one after the next crash.
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Options.Name, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Options.Name, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s %s: %s: %s", s.Options.Name, method, path, resp.Status, answer)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

// FindEngines looks for the programs that the sample site needs; the error says how to get them.
func FindEngines() error {
	for _, need := range []struct{ program, debianPackage string }{
		{"pocketsphinx_batch", "pocketsphinx pocketsphinx-en-us"}, {"flite", "flite"}, {"sox", "sox"},
	} {
		if _, err := Find(need.program, need.debianPackage); err != nil {
			return err
		}
	}
	return nil
}

var site struct {
	sync.Mutex
	program string
}

// BuildSite builds the program of the sample site, once in a process, and returns its path.
func BuildSite(ctx context.Context) (string, error) {
	site.Lock()
	defer site.Unlock()
	if site.program != "" {
		return site.program, nil
	}
	if err := FindEngines(); err != nil {
		return "", err
	}
	var program string
	err := alone(func(dir string) error {
		program = filepath.Join(dir, "speech-site")
		return quietly(exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", program, sitePackage))
	})
	if err != nil {
		return "", fmt.Errorf("build the sample site: %w", err)
	}
	site.program = program
	return program, nil
}

// BuildModel returns a model directory of the kind (asr or tts) and version. It is
// shared with all who ask for the same one, so it must not be changed: whoever
// wants to damage a model builds one with `speech-site model`.
func BuildModel(ctx context.Context, kind, version string) (string, error) {
	program, err := BuildSite(ctx)
	if err != nil {
		return "", err
	}
	var model string
	err = alone(func(dir string) error {
		// Another program may build another model.
		text, err := os.ReadFile(program)
		if err != nil {
			return err
		}
		model = filepath.Join(dir, fmt.Sprintf("%.6x", sha256.Sum256(text)), kind+"-"+version)
		if _, err := os.Stat(model); err == nil {
			return nil
		}
		return quietly(exec.CommandContext(ctx, program, "model", "--kind", kind, "--version", version, "--out", model))
	})
	if err != nil {
		return "", fmt.Errorf("build the %s model %s: %w", kind, version, err)
	}
	return model, nil
}

// alone runs something in the directory of built parts while no other process does.
func alone(run func(dir string) error) error { return aloneIn("understudy-site", run) }

// aloneIn is alone in another directory, so that what takes minutes holds up nobody else.
func aloneIn(name string, run func(dir string) error) error {
	dir := filepath.Join(os.TempDir(), name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	return run(dir)
}

// quietly runs a command; its output is part of the error.
func quietly(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
