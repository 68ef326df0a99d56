package main

import (
	"context"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// sceneFor is how long a scene may take on a busy machine, with all that has to be built for the first one.
	sceneFor = 10 * time.Minute
	// patience is how long one event may take.
	patience = 2 * time.Minute
)

// play is a scene while it is played. What goes wrong first is kept in err, and
// then nothing more is done, so that a scene reads as what happens in it.
type play struct {
	*harness.Scene
	ctx    context.Context
	engine client.Client
	// since is when the alert began.
	since time.Time
	// latest is the report that newest waited for.
	latest workflows.Report
	// store keeps the epochs, in scenes that have one.
	store *harness.MinIOServer
	ends  []func()
	err   error
}

// set starts the parts of a scene.
func set(ctx context.Context, dir string, s scene) (p *play, err error) {
	p = &play{ctx: ctx, since: time.Now()}
	defer func() {
		if err != nil {
			p.end()
		}
	}()
	o := s.options
	o.Dir, o.Without = dir, true
	o.Edit = func(r *runbooks.Runbook, site *runbooks.Site) {
		if s.edit != nil {
			s.edit(p, r, site)
		}
	}
	if p.Scene, err = harness.StartScene(ctx, o); err != nil {
		return p, err
	}
	if err := p.StartUnderstudy(ctx); err != nil {
		return p, err
	}
	if p.engine, err = p.Understudy.Keys().Dial(ctx, harness.EngineNamespace); err != nil {
		return p, err
	}
	p.rests() // before the first alert comes, the guard has looked around
	return p, p.err
}

// atEnd does something when the scene is over.
func (p *play) atEnd(do func()) { p.ends = append(p.ends, do) }

func (p *play) end() {
	if p.engine != nil {
		p.engine.Close()
	}
	if p.Scene != nil {
		p.Stop()
	}
	for _, do := range p.ends {
		do()
	}
}

// do does something, unless something went wrong before.
func (p *play) do(act func(ctx context.Context) error) {
	if p.err == nil {
		p.err = act(p.ctx)
	}
}

// until waits until the answer is nil.
func until(ctx context.Context, ask func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
