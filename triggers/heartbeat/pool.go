package heartbeat

import (
	"sync"
	"time"
)

// idleFor is how long a worker without work stays.
const idleFor = 10 * time.Second

// pool is a bounded number of workers, as many as are needed.
type pool struct {
	jobs chan func()
	free chan struct{}
	all  sync.WaitGroup
	done chan struct{}
}

func newPool(most int) *pool {
	return &pool{jobs: make(chan func()), free: make(chan struct{}, most), done: make(chan struct{})}
}

// try gives work to a worker; false where all are busy. begun is called, before
// try returns, where the work will be done.
func (p *pool) try(job, begun func()) bool {
	select {
	case p.jobs <- job: // one that has nothing to do
	default:
		select {
		case p.free <- struct{}{}:
			p.all.Go(func() { p.worker(job) })
		default:
			return false
		}
	}
	begun()
	return true
}

func (p *pool) worker(job func()) {
	defer func() { <-p.free }()
	idle := time.NewTimer(idleFor)
	defer idle.Stop()
	for {
		job()
		idle.Reset(idleFor)
		select {
		case job = <-p.jobs:
		case <-idle.C:
			return
		case <-p.done:
			return
		}
	}
}

// close waits for the work that is under way.
func (p *pool) close() {
	close(p.done)
	p.all.Wait()
}
