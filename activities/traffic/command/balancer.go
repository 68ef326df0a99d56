// Package command moves traffic through a program of the user's: for every load
// balancer that Understudy does not know by itself. Keepalived and Consul are
// driven this way, by the scripts in deploy/keepalived and deploy/consul.
//
// The program is called without a shell, with "view" or "apply" as its last
// argument:
//
//   - view prints the state of all servers as JSON, the type [traffic.View], and
//     changes nothing. It has 900 ms. An address that it leaves out is that of the
//     runbook; so is a time of now.
//   - apply reads a [traffic.Change] as JSON from its standard input, brings it
//     about, waits until it holds, and prints the view that it then sees. It must
//     bear to be called again, and by several at once; it should put servers onto
//     the traffic before it takes others off.
//
// Exit code 0 is success. 2 means that the change is refused and that a retry
// would not help; anything else that the load balancer cannot be reached. What
// the program writes on standard error is quoted to people. Its environment is
// PATH, HOME, LC_ALL=C, UNDERSTUDY_SERVERS (the runbook's servers, a JSON object
// of addresses by name) and UNDERSTUDY_FRONT, and nothing else: a program that
// needs a secret reads it from a file that its arguments name. At the end of its
// time it is killed together with all that it started.
package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/traffic/internal/program"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// viewTime bounds a view: it promises an answer within a second.
	viewTime = 900 * time.Millisecond
	// applyTime bounds an apply whose caller sets no bound.
	applyTime = 30 * time.Second
	// exitRefused is the exit code that says that a retry would not help.
	exitRefused = 2
)

// Balancer is a load balancer that a program drives.
type Balancer struct {
	command []string
	servers map[string]string
	env     []string
}

var _ traffic.Balancer = (*Balancer)(nil)

// New makes the balancer of a runbook's traffic section of kind command.
func New(t runbooks.Traffic) (*Balancer, error) {
	if len(t.Command) == 0 || t.Command[0] == "" {
		return nil, fmt.Errorf("%w: traffic.command names no program", traffic.ErrRefused)
	}
	for name, address := range t.Servers {
		if err := errors.Join(traffic.ValidName(name), traffic.ValidAddress(address)); err != nil {
			return nil, fmt.Errorf("traffic.servers: %w", err)
		}
	}
	servers, err := json.Marshal(t.Servers)
	if err != nil {
		return nil, fmt.Errorf("traffic.servers: %w", err)
	}
	return &Balancer{
		command: t.Command,
		servers: t.Servers,
		env:     []string{"UNDERSTUDY_SERVERS=" + string(servers), "UNDERSTUDY_FRONT=" + t.Front},
	}, nil
}

// View calls the program with "view".
func (b *Balancer) View(ctx context.Context) (traffic.View, error) {
	ctx, cancel := context.WithTimeout(ctx, viewTime)
	defer cancel()
	return b.call(ctx, "view", nil)
}

// Apply calls the program with "apply", and believes it only where the view that
// it prints shows the change.
func (b *Balancer) Apply(ctx context.Context, c traffic.Change) (traffic.View, error) {
	if err := c.Validate(); err != nil {
		return traffic.View{}, err
	}
	for _, a := range c.Set {
		if _, ok := b.servers[a.Server]; !ok {
			return traffic.View{}, fmt.Errorf("%w: %s is not in traffic.servers", traffic.ErrNoServer, a.Server)
		}
	}
	if c.Set = c.InOrder(); c.Set == nil {
		c.Set = []traffic.Assignment{} // a list for the program, not null
	}
	input, err := json.Marshal(c)
	if err != nil {
		return traffic.View{}, fmt.Errorf("%w: %w", traffic.ErrRefused, err)
	}
	ctx, cancel := context.WithTimeout(ctx, applyTime)
	defer cancel()
	v, err := b.call(ctx, "apply", input)
	if err == nil {
		err = v.Shows(c)
	}
	return v, err
}

func (b *Balancer) call(ctx context.Context, verb string, input []byte) (traffic.View, error) {
	at := time.Now()
	argv := append(b.command[:len(b.command):len(b.command)], verb)
	out, err := (program.Program{Argv: argv, Stdin: input, Env: b.env}).Run(ctx)
	switch {
	case err != nil && out.Exit == exitRefused:
		return traffic.View{}, fmt.Errorf("%w: %w", traffic.ErrRefused, err)
	case err != nil:
		return traffic.View{}, fmt.Errorf("%w: %w", traffic.ErrUnreachable, err)
	}
	v, err := decode(out.Stdout)
	if err != nil {
		return traffic.View{}, fmt.Errorf("%w: %s %s prints no view: %w", traffic.ErrUnreachable, b.command[0], verb, err)
	}
	for i, s := range v.Servers {
		if s.Address == "" {
			v.Servers[i].Address = b.servers[s.Name]
		}
	}
	if v.At.IsZero() {
		v.At = at
	}
	return v, nil
}

// decode reads a view strictly: a misspelt key in a script must not pass for a server that is well.
func decode(text []byte) (traffic.View, error) {
	var v traffic.View
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil {
		return traffic.View{}, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return traffic.View{}, errors.New("there is more than one JSON value")
	}
	if len(v.Servers) == 0 {
		return traffic.View{}, errors.New("it has no servers")
	}
	seen := traffic.Change{}
	for _, s := range v.Servers {
		seen.Set = append(seen.Set, traffic.Assignment{Server: s.Name, State: s.State, Address: s.Address})
	}
	return v, seen.Validate()
}
