// Package nginx moves traffic by writing nginx's upstream file and reloading.
//
// Understudy owns one file: a whole upstream block, with "down" at the servers
// that shall get nothing. The file is replaced in one step, checked by nginx
// itself, put back where the check fails, and loaded by a reload.
//
// A reload is only a request: its command succeeds also where nginx then keeps
// its old configuration. So the file carries, beside the upstream, a variable
// with the same states, and one location of the server makes nginx tell it (see
// [Location]). What nginx tells is what it runs with; that, and not the file, is
// the view, and nobody but nginx needs to be believed: after a crash between the
// rename and the reload the two differ, and the next Apply loads the file.
//
// For about 100 ms after a reload the old workers still accept connections, and
// they stop one after the other. Apply returns when each of them has said, in
// its process title, that it is shutting down. Requests in flight finish there.
//
// What follows for those who call:
//
//   - Drain and Maint are the same to nginx, whose old workers always finish what
//     they have; which of the two was meant is kept. Change.Cut does nothing.
//   - Every server gets max_fails=0: nginx's passive checks would move traffic
//     behind the back of the view, and with one server left they answer 502 for
//     ten seconds after one bad answer. Who is up is decided elsewhere, so Up is
//     unknown, and so are requests in flight. A server marked "backup" is still
//     tried within the same request when the others refuse the connection.
//   - A name instead of an IP address is resolved once, at the reload.
package nginx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/understudy-dr/understudy/activities/atomicfile"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/traffic/internal/program"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// takeUp bounds the wait for new workers. nginx needs a tenth of a second, and longer with many certificates.
	takeUp = 10 * time.Second
	// pause is the time between two looks at what nginx runs with.
	pause = 20 * time.Millisecond
	// settle is how long only new workers must have answered where the processes cannot be seen.
	settle = 500 * time.Millisecond
)

// Balancer is one upstream of one nginx on this machine.
type Balancer struct {
	upstream     string
	file         string
	test, reload []string
	// servers are those of the runbook; of these, nginx may not know some yet.
	servers map[string]string
	witness witness
}

var _ traffic.Balancer = (*Balancer)(nil)

// New makes the balancer of a runbook's traffic section of kind nginx.
func New(t runbooks.Traffic) (*Balancer, error) {
	if err := traffic.ValidName(t.Backend); err != nil {
		return nil, fmt.Errorf("traffic.backend: %w", err)
	}
	if !filepath.IsAbs(t.File) {
		return nil, fmt.Errorf("%w: traffic.file %q is no absolute path", traffic.ErrRefused, t.File)
	}
	for name, address := range t.Servers {
		if err := errors.Join(traffic.ValidName(name), traffic.ValidAddress(address)); err != nil {
			return nil, fmt.Errorf("traffic.servers: %w", err)
		}
	}
	w, err := newWitness(t.Front, t.Backend)
	if err != nil {
		return nil, err
	}
	b := &Balancer{upstream: t.Backend, file: t.File, test: t.Test, reload: t.Reload, servers: t.Servers, witness: w}
	if len(b.test) == 0 {
		b.test = []string{"nginx", "-t"}
	}
	if len(b.reload) == 0 {
		b.reload = []string{"nginx", "-s", "reload"}
	}
	return b, nil
}

// View asks nginx what it runs with. Where the file says something else, the
// view comes with ErrDisagree: a reload by anybody would change the traffic.
func (b *Balancer) View(ctx context.Context) (traffic.View, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	at := time.Now()
	running, err := b.witness.ask(ctx)
	if err != nil {
		return traffic.View{}, err
	}
	return traffic.View{Servers: b.withRunbook(running.servers), At: at}, b.compare(running.servers)
}

// Apply returns once nginx runs with the change and its old workers accept
// nothing more. A change that nginx runs with already, from this very file,
// causes no reload. An nginx that does not answer is not changed.
func (b *Balancer) Apply(ctx context.Context, c traffic.Change) (traffic.View, error) {
	if err := c.Validate(); err != nil {
		return traffic.View{}, err
	}
	unlock, err := lock(ctx, filepath.Dir(b.file))
	if err != nil {
		return traffic.View{}, fmt.Errorf("%w: %w", traffic.ErrUnreachable, err)
	}
	defer unlock()
	old, err := b.witness.ask(ctx)
	if err != nil {
		return traffic.View{}, err
	}
	wanted, err := b.changed(old.servers, c)
	if err != nil {
		return traffic.View{Servers: b.withRunbook(old.servers), At: time.Now()}, err
	}
	if !slices.Equal(wanted, old.servers) || b.compare(old.servers) != nil {
		workers, hidden := accepting(old.worker)
		if err := b.load(ctx, wanted); err != nil {
			return traffic.View{}, err
		}
		if err := b.await(ctx, wanted, workers, hidden != nil); err != nil {
			return traffic.View{}, err
		}
	}
	return b.View(ctx)
}

// load puts the file in place, lets nginx check it, and asks nginx to load it.
func (b *Balancer) load(ctx context.Context, wanted []traffic.Server) error {
	path, err := filepath.EvalSymlinks(b.file)
	if errors.Is(err, fs.ErrNotExist) {
		path, err = b.file, nil
	}
	if err != nil {
		return b.unwritable(err)
	}
	before, err := os.ReadFile(path)
	existed := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return b.unwritable(err)
	}
	perm := fs.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		perm = info.Mode().Perm()
	}
	if err := atomicfile.Write(path, render(b.upstream, wanted), perm); err != nil {
		return b.unwritable(err)
	}
	if out, err := (program.Program{Argv: b.test}).Run(ctx); err != nil {
		restored := os.Remove(path)
		if existed {
			restored = atomicfile.Write(path, before, perm)
		}
		kind := traffic.ErrRefused
		if ctx.Err() != nil || out.Exit < 0 {
			kind = traffic.ErrUnreachable // the test did not come to an end, so it says nothing about the change
		}
		return errors.Join(fmt.Errorf("%w: nginx's configuration would not load, %s is as it was: %w", kind, b.file, err), restored)
	}
	if _, err := (program.Program{Argv: b.reload}).Run(ctx); err != nil {
		return fmt.Errorf("%w: %s is written, but the reload failed: %w", traffic.ErrUnreachable, b.file, err)
	}
	return nil
}

// await returns when nginx runs with the servers wanted and none of the old
// workers accepts any more.
func (b *Balancer) await(ctx context.Context, wanted []traffic.Server, old map[int]bool, hidden bool) error {
	ctx, cancel := context.WithTimeout(ctx, takeUp)
	defer cancel()
	var since time.Time // only new workers have answered from then on
	for {
		running, err := b.witness.ask(ctx)
		switch {
		case err != nil:
		case !slices.Equal(running.servers, wanted):
			since, err = time.Time{}, errors.New("it still tells the old states")
		case since.IsZero():
			since = time.Now()
		}
		maps.DeleteFunc(old, func(pid int, _ bool) bool { return !isAccepting(pid) })
		if err == nil && len(old) == 0 && (!hidden || time.Since(since) > settle) {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("%w: nginx was asked to reload %s and does not run with it yet, see its error log: %w",
				traffic.ErrUnreachable, b.file, cmp.Or(err, ctx.Err()))
		}
	}
}

// compare reports how the file differs from what nginx runs with.
func (b *Balancer) compare(running []traffic.Server) error {
	text, err := os.ReadFile(b.file)
	if err != nil {
		return fmt.Errorf("%w: nginx runs, but its upstream file cannot be read: %w", traffic.ErrDisagree, err)
	}
	servers, err := parse(b.upstream, text)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", traffic.ErrDisagree, b.file, err)
	}
	if !slices.Equal(servers, running) {
		return fmt.Errorf("%w: %s says %q, nginx runs with %q", traffic.ErrDisagree, b.file, tell(servers), tell(running))
	}
	return nil
}

// withRunbook adds the servers of the runbook that nginx does not know yet: they get no traffic, as if in maintenance.
func (b *Balancer) withRunbook(running []traffic.Server) []traffic.Server {
	all := slices.Clone(running)
	var added []traffic.Server
	for name, address := range b.servers {
		if !slices.ContainsFunc(running, func(s traffic.Server) bool { return s.Name == name }) {
			added = append(added, traffic.Server{Name: name, Address: address, State: traffic.Maint})
		}
	}
	slices.SortFunc(added, func(x, y traffic.Server) int { return cmp.Compare(x.Name, y.Name) })
	return append(all, added...)
}

func (b *Balancer) unwritable(err error) error {
	return fmt.Errorf("%w: %w; let Understudy's user write that directory", traffic.ErrUnreachable, err)
}

// changed returns the servers as a change wants them. Of the runbook's servers
// it adds only those that the change names: nginx refuses a configuration with
// any name that does not resolve, and a server that nobody asked for must not
// be what a switch fails at.
func (b *Balancer) changed(running []traffic.Server, c traffic.Change) ([]traffic.Server, error) {
	servers := slices.Clone(running)
	for _, a := range c.Set {
		i := slices.IndexFunc(servers, func(s traffic.Server) bool { return s.Name == a.Server })
		address, known := b.servers[a.Server]
		switch {
		case i < 0 && !known:
			return nil, fmt.Errorf("%w: %s is neither in the upstream file nor in traffic.servers", traffic.ErrNoServer, a.Server)
		case i < 0 && a.State == traffic.Maint && a.Address == "":
			continue // it gets no traffic already
		case i < 0:
			i, servers = len(servers), append(servers, traffic.Server{Name: a.Server, Address: address})
		}
		servers[i].State = a.State
		if a.Address != "" {
			servers[i].Address = a.Address
		}
	}
	return servers, nil
}
