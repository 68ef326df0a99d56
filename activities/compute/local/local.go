// Package local makes a machine out of a host that is there already: a process
// under a small supervisor, on this host or on one that is reached by ssh.
//
// All that happens on a host is done by one shell script, which is handed to sh
// on its standard input, here or by ssh. A machine is a directory on its host
// that appears in one step, with the order and all that belongs to it; the
// supervisor that makes a directory in it first is the one that goes on. So it
// does not matter when a caller dies, or how many there are: one key has one
// process. The process is no child of ours. It lives in a systemd unit of its
// own where systemd runs and we are root, and in a session of its own
// elsewhere, outlives us, and is found again by its key.
package local

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// DefaultGrace is how long a process has between SIGTERM and SIGKILL.
	DefaultGrace = 10 * time.Second
	// callTime bounds a call to a host, beside the grace: the checks of one may each wait some seconds.
	callTime = 30 * time.Second
	// systemdDir is there where systemd runs, as its own manual says (sd_booted).
	systemdDir = "/run/systemd/system"
)

// Config says where machines are kept.
type Config struct {
	// Dir is where machines of this host are kept. Default /var/lib/understudy/machines for root, and
	// .local/state/understudy/machines in the home directory for others.
	Dir string
	// RemoteDir is the same on hosts that are reached by ssh.
	RemoteDir string
	// SSH is the program that reaches other hosts, with its options. Default ssh: users, ports, keys and known hosts are
	// then those of its configuration. It must need no terminal.
	SSH []string
	// Grace is how long a process has between SIGTERM and SIGKILL, in whole seconds. Default DefaultGrace.
	Grace time.Duration
}

// Provider makes processes on hosts. It is safe for concurrent use and has no memory.
type Provider struct {
	config              Config
	systemd, supervisor string
	run                 func(ctx context.Context, host, script string) (string, error)
}

var _ compute.Provider = (*Provider)(nil)

// New makes a provider.
func New(c Config) (*Provider, error) {
	if c.Dir != "" {
		dir, err := filepath.Abs(c.Dir)
		if err != nil {
			return nil, fmt.Errorf("directory of local machines: %w", err)
		}
		c.Dir = dir
	}
	if c.RemoteDir != "" && !filepath.IsAbs(c.RemoteDir) {
		return nil, fmt.Errorf("the directory %q for machines of other hosts is relative; write an absolute path", c.RemoteDir)
	}
	if strings.ContainsFunc(c.Dir+c.RemoteDir, func(r rune) bool { return r < ' ' }) {
		return nil, errors.New("the directory of local machines has control characters in its name")
	}
	if len(c.SSH) == 0 {
		c.SSH = []string{"ssh"}
	}
	if c.Grace < time.Second {
		c.Grace = DefaultGrace
	}
	return &Provider{config: c, systemd: systemdDir, supervisor: runScript, run: shells{ssh: c.SSH}.run}, nil
}

// Check asks whether the program and its directory are there, and whether the
// ports, the disk and the GPU memory that the order names are free.
func (p *Provider) Check(ctx context.Context, o compute.Order) error {
	s, err := p.order("check", o)
	if err != nil {
		return err
	}
	_, err = p.call(ctx, o.Provision, s)
	if err != nil && ctx.Err() == nil && o.Provision.Host != "" && !certain(err) {
		// Nothing was asked for yet, so a host that does not answer is no riddle: it has no room.
		return fmt.Errorf("%w: %w", compute.ErrCapacity, err)
	}
	return err
}

// Create starts the process of an order, or finds it. The environment of an
// order is no part of its identity: it holds secrets, which may have been
// renewed when a call is repeated; the one of the first call stays. Where a call
// that starts the process sees it end at once, the machine is Gone, and Detail
// tells why.
func (p *Provider) Create(ctx context.Context, o compute.Order) (compute.Machine, error) {
	s, err := p.order("create", o)
	if err != nil {
		return compute.Machine{}, err
	}
	m, a, err := p.one(ctx, o.Provision, s)
	if err == nil && m.State == compute.Gone && !a.launched {
		return m, fmt.Errorf("%w: the machine %s is gone: %s", compute.ErrUsed, m.ID, m.Detail)
	}
	return m, err
}

// Describe returns a machine as it is now.
func (p *Provider) Describe(ctx context.Context, r compute.Ref) (compute.Machine, error) {
	s, err := p.ref("describe", r)
	if err != nil {
		return compute.Machine{}, err
	}
	m, _, err := p.one(ctx, r.Provision, s)
	return m, err
}

// Stop ends the process and keeps the order. It returns when no process is left.
func (p *Provider) Stop(ctx context.Context, r compute.Ref) error {
	return p.end(ctx, "stop", r)
}

// Terminate ends the process for good. It returns when no process is left. The
// key stays used for 30 days, also where there was no machine yet: a call that
// arrives late makes nothing.
func (p *Provider) Terminate(ctx context.Context, r compute.Ref) error {
	return p.end(ctx, "terminate", r)
}

func (p *Provider) end(ctx context.Context, verb string, r compute.Ref) error {
	s, err := p.ref(verb, r)
	if err == nil {
		_, err = p.call(ctx, r.Provision, s)
	}
	return err
}

// Start starts the process of a machine that was stopped, with the arguments and
// the environment that it had.
func (p *Provider) Start(ctx context.Context, r compute.Ref) (compute.Machine, error) {
	s, err := p.ref("start", r)
	if err != nil {
		return compute.Machine{}, err
	}
	m, _, err := p.one(ctx, r.Provision, s)
	return m, err
}

// List returns the machines of the provision's host, also those whose process
// has ended by itself.
func (p *Provider) List(ctx context.Context, at runbooks.Provision, service string) ([]compute.Machine, error) {
	a, err := p.call(ctx, at, script{"VERB": "list"})
	if err != nil {
		return nil, err
	}
	var found []compute.Machine
	for _, m := range a.machines {
		if m.Ours() && (service == "" || m.Tags[compute.TagService] == service) {
			found = append(found, m)
		}
	}
	return found, nil
}

// one makes a call that is answered by one machine.
func (p *Provider) one(ctx context.Context, at runbooks.Provision, s script) (compute.Machine, answer, error) {
	a, err := p.call(ctx, at, s)
	if err != nil {
		return compute.Machine{}, a, err
	}
	if len(a.machines) != 1 {
		return compute.Machine{}, a, fmt.Errorf("%s of machine %s: the host answers with %d machines", s["VERB"], s["KEY"], len(a.machines))
	}
	return a.machines[0], a, nil
}

// call hands a script to a host and reads the answer.
func (p *Provider) call(ctx context.Context, at runbooks.Provision, s script) (answer, error) {
	// A call over ssh that nobody waits for any more would not even be noticed there.
	if err := ctx.Err(); err != nil {
		return answer{}, fmt.Errorf("%s on %s: %w", s["VERB"], where(at), err)
	}
	if at.Host != "" && !hostName.MatchString(at.Host) {
		return answer{}, fmt.Errorf("%w: %q is no host", compute.ErrRefused, at.Host)
	}
	s["ROOT"], s["SYSTEMD"], s["GRACE"] = p.config.Dir, p.systemd, fmt.Sprint(int(p.config.Grace.Seconds()))
	if at.Host != "" {
		s["ROOT"] = p.config.RemoteDir
	}
	text, err := s.text()
	if err != nil {
		return answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime+p.config.Grace)
	defer cancel()
	output, err := p.run(ctx, at.Host, text)
	a, ok := parse(output)
	if !ok {
		if err == nil {
			err = errors.New("its answer has no end")
		}
		return answer{}, fmt.Errorf("%s on %s: %w", s["VERB"], where(at), err)
	}
	if a.err != nil {
		return answer{}, fmt.Errorf("%s on %s: %w", s["VERB"], where(at), a.err)
	}
	return a, nil
}

// where names a host to people.
func where(at runbooks.Provision) string {
	if at.Host == "" {
		return "this host"
	}
	return "host " + at.Host
}
