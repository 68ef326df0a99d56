package workflows

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/runbooks"
)

// machines is a provider whose machines run at once, and whose every order is
// remembered. Scripted errors come first, by placement's zone.
type machines struct {
	mu     sync.Mutex
	orders []compute.Order
	all    map[string]compute.Machine // by key
	script map[string][]error
	check  map[string]error
	// address is where a machine answers.
	address string
}

func newMachines() *machines {
	return &machines{all: map[string]compute.Machine{}, script: map[string][]error{}, check: map[string]error{}, address: "cold"}
}

// live are the machines that are neither gone nor stopped.
func (m *machines) live() (ids []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.all {
		if one.State == compute.Running {
			ids = append(ids, one.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func (m *machines) Check(_ context.Context, o compute.Order) error { return m.check[o.Placement.Zone] }

func (m *machines) Create(_ context.Context, o compute.Order) (compute.Machine, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.orders = append(m.orders, o)
	if known, ok := m.all[o.Key]; ok {
		return known, nil
	}
	var err error
	if errs := m.script[o.Placement.Zone]; len(errs) > 0 {
		err, m.script[o.Placement.Zone] = errs[0], errs[1:]
	}
	made := compute.Machine{ID: "i-" + o.Key, Key: o.Key, State: compute.Running, Address: m.address, Where: o.Placement.Text(), Tags: o.Tags(), Made: time.Now()}
	if err == nil || err == errAnswerLost {
		m.all[o.Key] = made
	}
	return made, err
}

func (m *machines) Describe(_ context.Context, r compute.Ref) (compute.Machine, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.all {
		if one.ID == r.ID || r.ID == "" && one.Key == r.Key {
			return one, nil
		}
	}
	return compute.Machine{}, compute.ErrNone
}

func (m *machines) become(r compute.Ref, s compute.State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, one := range m.all {
		if one.ID == r.ID {
			one.State = s
			m.all[key] = one
		}
	}
	return nil
}

func (m *machines) Stop(_ context.Context, r compute.Ref) error { return m.become(r, compute.Stopped) }

func (m *machines) Start(ctx context.Context, r compute.Ref) (compute.Machine, error) {
	_ = m.become(r, compute.Running)
	return m.Describe(ctx, r)
}

func (m *machines) Terminate(_ context.Context, r compute.Ref) error {
	return m.become(r, compute.Gone)
}

func (m *machines) List(context.Context, runbooks.Provision, string) (list []compute.Machine, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.all {
		list = append(list, one)
	}
	return list, nil
}

// errAnswerLost means that the machine was made, and nobody heard of it.
var errAnswerLost = fmt.Errorf("connection reset")

func (w *world) Mount(_ context.Context, key string, v runbooks.Volume, _ func(volumes.Progress)) (volumes.Mounted, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mountErr != nil {
		return volumes.Mounted{}, w.mountErr
	}
	w.mounted[key] = true
	return volumes.Mounted{Path: v.Mount, How: "copy", Files: 3, Bytes: 37e6}, nil
}

func (w *world) Unmount(_ context.Context, key string, _ runbooks.Volume) error {
	w.change(func() { delete(w.mounted, key) })
	return nil
}

// Verify hashes as a test says, and else finds every byte right.
func (w *world) Verify(ctx context.Context, _ string, _ runbooks.Volume, _ func(volumes.Progress)) error {
	if w.hashes == nil {
		return nil
	}
	return w.hashes(ctx)
}

func (w *world) Look(_ context.Context, _ runbooks.Data, epoch int64) (replica.Point, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.points[epoch]
	if !ok {
		return p, replica.ErrNone
	}
	return p, nil
}

func (w *world) Epochs(context.Context, runbooks.Data) (all []int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for e := range w.points {
		all = append(all, e)
	}
	slices.Sort(all)
	return all, nil
}

func (w *world) Restore(_ context.Context, key string, d runbooks.Data, p replica.Point) (replica.Restored, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.restoreErr != nil {
		return replica.Restored{}, w.restoreErr
	}
	w.restored[key] = true
	return replica.Restored{Point: p, Path: d.Path, Check: "12"}, nil
}

func (w *world) SetAside(_ context.Context, key string, d runbooks.Data) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.restored[key] {
		return "", nil
	}
	delete(w.restored, key)
	return d.Path + ".kept", nil
}

func (w *world) Remove(_ context.Context, key string, _ runbooks.Data) error {
	w.change(func() { delete(w.restored, key) })
	return nil
}

func (w *world) Budget(_ context.Context, in activities.BudgetInput) (activities.BudgetResult, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.budget.take(in, time.Now()), nil
}

func (w *world) StartBatch(_ context.Context, in activities.StartBatchInput) error {
	w.change(func() { w.batches = append(w.batches, in.Job) })
	return nil
}

func (w *world) Drill(context.Context, activities.AskDrillInput) (activities.AskDrillResult, error) {
	return activities.AskDrillResult{}, nil
}

func (w *world) Booting(_ context.Context, in activities.BootNews) error {
	w.change(func() { w.booted = append(w.booted, in) })
	if w.onBoot != nil {
		w.onBoot(in)
	}
	return nil
}

func (w *world) AtWork(context.Context, string) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.atWork, nil
}

func (w *world) Holds(context.Context, string) (activities.Held, error) {
	return activities.Held{}, nil
}
