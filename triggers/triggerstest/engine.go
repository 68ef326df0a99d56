// Package triggerstest stands in for the engine where triggers and commands are
// tested: guards and recoveries that only say and remember.
package triggerstest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/triggers/audit"
	"github.com/understudy-dr/understudy/workflows"
)

// Engine is an engine whose workflows say what the test has put into them.
type Engine struct {
	mu       sync.Mutex
	states   map[string]workflows.GuardState
	running  map[string]workflows.Report
	answered map[string]json.RawMessage
	// reply answers an order; without it every order is answered with "so be it".
	reply   func(o triggers.Order) (any, error)
	orders  []triggers.Order
	entries []audit.Entry
	asked   map[string]int
	// lost is how many answers still get lost on their way back.
	lost     int
	machines []triggers.MachineDetail
	refuse   map[string][]string
}

var (
	_ triggers.Guards   = (*Engine)(nil)
	_ triggers.Orders   = (*Engine)(nil)
	_ triggers.Standbys = (*Engine)(nil)
	_ triggers.Makers   = (*Engine)(nil)
	_ triggers.Machines = (*Engine)(nil)
	_ triggers.Recorder = (*Engine)(nil)
	_ triggers.Lookouts = (*Engine)(nil)
)

// New makes an engine with a guard at rest for each service.
func New(services ...string) *Engine {
	e := &Engine{states: map[string]workflows.GuardState{}, running: map[string]workflows.Report{}, answered: map[string]json.RawMessage{}, asked: map[string]int{}, refuse: map[string][]string{}}
	for _, s := range services {
		e.states[s] = workflows.GuardState{Service: s, Active: runbooks.PrimaryName, Epoch: 6, Decisions: []workflows.Decision{{Event: "guard is born", Action: workflows.Ignore, Reason: "test"}}}
	}
	return e
}

// API is an API on this engine. Reports and Library are the test's.
func (e *Engine) API(library *runbooks.Library, store reports.Store) triggers.APIConfig {
	return triggers.APIConfig{
		Library: func() *runbooks.Library { return library }, Guards: e, Orders: e, Standbys: e, Makers: e, Machines: e, Lookouts: e, Reports: store, Audit: e,
		Link: func(id string) string { return "http://temporal/" + id }, Version: "test",
	}
}

// Set changes what a guard says.
func (e *Engine) Set(service string, change func(*workflows.GuardState)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.states[service]
	change(&s)
	e.states[service] = s
}

// Run puts a recovery that runs, or changes what it says; its guard says that it runs.
func (e *Engine) Run(r workflows.Report) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running[workflows.RecoveryID(r.Service, r.Epoch)] = r
	s := e.states[r.Service]
	s.Running = nil
	if r.Ended.IsZero() {
		s.Running = &workflows.Running{Epoch: r.Epoch, Mode: r.Mode, Started: r.Started}
	}
	e.states[r.Service] = s
}

// Reply sets how orders are answered.
func (e *Engine) Reply(with func(o triggers.Order) (any, error)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reply = with
}

// Lose lets the answers of the next orders get lost, after they were carried out.
func (e *Engine) Lose(count int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lost = count
}

// Refuse gives a tier reasons to be refused.
func (e *Engine) Refuse(tier string, reasons ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refuse[tier] = reasons
}

// Make puts machines.
func (e *Engine) Make(machines ...triggers.MachineDetail) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.machines = machines
}

// Orders are those that were carried out; a repeated one is not there twice.
func (e *Engine) Orders() []triggers.Order {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.orders)
}

// Entries are what the audit got.
func (e *Engine) Entries() []audit.Entry {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.entries)
}

// Asked is how often each workflow was asked.
func (e *Engine) Asked() map[string]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.asked)
}

// Order answers an order, a repeated one as before.
func (e *Engine) Order(_ context.Context, o triggers.Order, answer any) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	workflow := workflows.GuardID(o.Service)
	if o.Epoch != 0 {
		workflow = workflows.RecoveryID(o.Service, o.Epoch)
		if r, ok := e.running[workflow]; !ok || r.Outcome != "" {
			return fmt.Errorf("%w: workflow %s", triggers.ErrOver, workflow)
		}
	}
	text, again := e.answered[workflow+" "+o.Key]
	if !again {
		var said any = "so be it"
		if e.reply != nil {
			var err error
			if said, err = e.reply(o); err != nil {
				return err
			}
		}
		text, _ = json.Marshal(said)
		e.answered[workflow+" "+o.Key] = text
		e.orders = append(e.orders, o)
	}
	if e.lost > 0 {
		e.lost--
		return fmt.Errorf("%w: the answer was lost", triggers.ErrUnsure)
	}
	return json.Unmarshal(text, answer)
}

// State says what the test has put.
func (e *Engine) State(_ context.Context, service string) (workflows.GuardState, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked[workflows.GuardID(service)]++
	s, ok := e.states[service]
	if !ok {
		return s, fmt.Errorf("workflow %s not found", workflows.GuardID(service))
	}
	return s, nil
}

// Progress says what the test has put.
func (e *Engine) Progress(_ context.Context, service string, epoch int64) (workflows.Report, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	id := workflows.RecoveryID(service, epoch)
	e.asked[id]++
	r, ok := e.running[id]
	if !ok {
		return r, fmt.Errorf("workflow %s not found", id)
	}
	return r, nil
}

// Alert takes any alert.
func (e *Engine) Alert(context.Context, string, workflows.AlertSignal) error { return nil }

// Stuck says that nothing is.
func (e *Engine) Stuck(context.Context, string) (string, error) { return "", nil }

// CheckStandby passes what is not refused.
func (e *Engine) CheckStandby(_ context.Context, in activities.CheckStandbyInput) (activities.Gate, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return activities.Gate{Refusals: e.refuse[in.Target.Name], Answers: true}, nil
}

// CheckMachine passes what is not refused.
// LookAtData finds 28 transactions, or 28 files, of each piece of data.
func (e *Engine) LookAtData(_ context.Context, in activities.DataInput) (out activities.LookAtDataResult, err error) {
	for _, d := range in.Data {
		out.Points = append(out.Points, activities.DataPoint{Data: d, Point: replica.Point{Epoch: in.From, Position: "000000000000001c", Items: 28, At: time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)}})
	}
	return out, nil
}

func (e *Engine) CheckMachine(_ context.Context, in activities.CheckMachineInput) (activities.MachineGate, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return activities.MachineGate{Refusals: e.refuse[in.Tier.Name], Notes: []string{fmt.Sprintf("asked for epoch %d, data of epoch %d", in.Epoch, in.Data.From)}}, nil
}

// List lists the machines.
func (e *Engine) List(context.Context) ([]triggers.MachineDetail, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.machines), nil
}

// Readiness says that nothing was looked at yet.
func (e *Engine) Readiness(_ context.Context, service string, _ bool) (workflows.ReadinessState, error) {
	return workflows.ReadinessState{Service: service}, nil
}

// Record keeps an entry.
func (e *Engine) Record(entry audit.Entry) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.entries = append(e.entries, entry)
	return nil
}

// Report is a recovery that began at a time. Tests change what they need.
func Report(service string, epoch int64, started time.Time) workflows.Report {
	r := workflows.Report{Service: service, Mode: workflows.ModeLive, From: runbooks.PrimaryName, Started: started, Recovery: workflows.RecoveryID(service, epoch)}
	r.Epoch, r.Active = epoch, runbooks.PrimaryName
	r.Trigger = workflows.Trigger{Kind: workflows.TriggerAlert, Text: "alert Down: it is down", Received: started, OutageSince: started}
	r.Timeline = []workflows.Record{{Step: runbooks.StepDiagnose, State: workflows.Done, Reason: "refused", Started: started, Ended: started.Add(40 * time.Millisecond)}}
	return r
}

// Runbook is one with a hot standby, one that must be made, and one that asks.
func Runbook(service string) runbooks.Runbook {
	return runbooks.Runbook{
		Service: service, Match: []map[string]string{{"alertname": "Down", "service": service}},
		Primary: runbooks.Primary{URL: "http://127.0.0.1:1", Server: "primary"}, Traffic: runbooks.Traffic{Kind: "command", Front: "http://127.0.0.1:2"},
		Tiers: []runbooks.Tier{
			{Name: runbooks.TierHot, URL: "http://127.0.0.1:3", Server: "hot", Within: runbooks.Duration(5 * time.Second)},
			{Name: runbooks.TierCold, URL: "http://{address}:4", Server: "cold", Within: runbooks.Duration(time.Minute), Provision: &runbooks.Provision{Kind: "local", Command: []string{"true"}}},
			{Name: runbooks.TierCrossRegion, URL: "http://{address}:5", Server: "far", Within: runbooks.Duration(time.Minute), Provision: &runbooks.Provision{Kind: "local", Command: []string{"true"}},
				Approval: &runbooks.Approval{Roles: []string{"approver"}, Timeout: runbooks.Duration(10 * time.Minute)}},
		},
		Policy: runbooks.Policy{Confirm: runbooks.Duration(time.Minute)},
	}
}

// Library is a library of such runbooks.
func Library(services ...string) *runbooks.Library {
	var books []runbooks.Runbook
	for _, s := range services {
		books = append(books, Runbook(s))
	}
	return runbooks.NewLibrary(books...)
}

// Keep writes a report down.
func Keep(ctx context.Context, store reports.Store, r workflows.Report) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return store.Write(ctx, workflows.ReportName(r.Service, r.Epoch)+".json", text)
}
