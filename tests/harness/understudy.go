package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/google/uuid"

	"github.com/understudy-dr/understudy/runbooks"
)

// UnderstudyOptions describe an Understudy to start.
type UnderstudyOptions struct {
	// Dir is where its configuration, log and data are; it exists.
	Dir  string
	Name string
	// Site is its site file; ports that it leaves open are found.
	Site     runbooks.Site
	Runbooks []runbooks.Runbook
	// SiteFile is one that is there already, instead of Site and Runbooks. Its data directory is not used.
	SiteFile string
	// Env is added, such as TEMPORAL_ADDRESS.
	Env []string
	// Args are more flags.
	Args []string
}

// Understudy is a running Understudy, the real program.
type Understudy struct {
	*Process
	Options UnderstudyOptions
	// URL is the API's, UI that of the Temporal UI, both without a slash at the end.
	URL, UI string
}

var understudy struct {
	sync.Mutex
	program string
}

// BuildUnderstudy builds the program, once in a process, and returns its path.
// UNDERSTUDY_BIN names one that is built already.
func BuildUnderstudy(ctx context.Context) (string, error) {
	if program := os.Getenv("UNDERSTUDY_BIN"); program != "" {
		return program, nil
	}
	understudy.Lock()
	defer understudy.Unlock()
	if understudy.program != "" {
		return understudy.program, nil
	}
	err := alone(func(dir string) error {
		understudy.program = filepath.Join(dir, "understudy")
		return quietly(exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", understudy.program, "github.com/understudy-dr/understudy"))
	})
	if err != nil {
		understudy.program = ""
		return "", fmt.Errorf("build understudy: %w", err)
	}
	return understudy.program, nil
}

// StartUnderstudy starts Understudy and waits until it is ready.
func StartUnderstudy(ctx context.Context, o UnderstudyOptions) (*Understudy, error) {
	program, err := BuildUnderstudy(ctx)
	if err != nil {
		return nil, err
	}
	if o.Name == "" {
		o.Name = "understudy"
	}
	if o.SiteFile != "" {
		var problems runbooks.Problems
		if o.Site, problems = runbooks.LoadSite(o.SiteFile); problems.Err() != nil {
			return nil, problems.Err()
		}
		o.Site.DataDir = ""
	}
	o.Site.APIVersion = runbooks.APIVersion
	fill := func(address *string, take func() int) {
		if *address == "" {
			*address = Address(take())
		}
	}
	fill(&o.Site.Listen.API, FreePort)
	fill(&o.Site.Listen.Temporal, FourPorts)
	fill(&o.Site.Listen.UI, FreePort)
	if o.Site.DataDir == "" {
		o.Site.DataDir = filepath.Join(o.Dir, o.Name+"-data")
	}
	u := &Understudy{Options: o, URL: "http://" + o.Site.Listen.API, UI: "http://" + o.Site.Listen.UI}
	if o.SiteFile == "" {
		if err := u.write(); err != nil {
			return nil, err
		}
	}
	u.Process, err = Start(ctx, Spec{
		Name: o.Name, Path: program, Dir: o.Dir, Env: o.Env,
		Args:  append([]string{"serve", "--config", u.siteFile(), "--data-dir", o.Site.DataDir}, o.Args...),
		Ready: Responding(u.URL + "/readyz"),
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// write writes site file and runbooks; JSON is YAML as well.
func (u *Understudy) write() error {
	dir := filepath.Join(u.Options.Dir, u.Options.Name+"-runbooks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	site := u.Options.Site
	site.Runbooks = []string{dir}
	put := func(path string, content any) error {
		text, err := json.MarshalIndent(content, "", "  ")
		if err != nil {
			return err
		}
		return os.WriteFile(path, text, 0o644)
	}
	for _, r := range u.Options.Runbooks {
		if err := put(filepath.Join(dir, r.Service+".yaml"), r); err != nil {
			return err
		}
	}
	return put(u.siteFile(), site)
}

func (u *Understudy) siteFile() string {
	if u.Options.SiteFile != "" {
		return u.Options.SiteFile
	}
	return filepath.Join(u.Options.Dir, u.Options.Name+".yaml")
}

// runbookFile is the file of a service's runbook.
func (u *Understudy) runbookFile(service string) string {
	if u.Options.SiteFile != "" {
		return u.Options.Site.Runbooks[0]
	}
	return filepath.Join(u.Options.Dir, u.Options.Name+"-runbooks", service+".yaml")
}

// Restart starts it again after a Kill or Stop, on the same data and ports.
func (u *Understudy) Restart(ctx context.Context) error {
	p, err := Start(ctx, u.Spec)
	if err == nil {
		u.Process = p
	}
	return err
}

// Command runs one of the program's commands against it and returns what it prints.
func (u *Understudy) Command(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, u.Spec.Path, append([]string{"--server", u.URL}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Get asks the API.
func (u *Understudy) Get(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.URL+path, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", path, response.Status, body)
	}
	return json.Unmarshal(body, into)
}

// Post orders something of the API, under a key of its own.
func (u *Understudy) Post(ctx context.Context, path string, order, into any) error {
	content, err := json.Marshal(order)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.URL+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", uuid.NewString())
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("POST %s: %s: %s", path, response.Status, body)
	}
	return json.Unmarshal(body, into)
}
