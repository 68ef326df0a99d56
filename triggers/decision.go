package triggers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-dr/understudy/triggers/access"
	"github.com/understudy-dr/understudy/triggers/audit"
)

const (
	// orderIn bounds how long a workflow may take to answer an order: it needs milliseconds where a worker lives.
	orderIn = 10 * time.Second
	// supersedeIn is for an order that first ends a running recovery, which is given time to clean up.
	supersedeIn = 50 * time.Second
)

// Keyed is part of every request that decides something.
type Keyed struct {
	Key string `header:"Idempotency-Key" required:"true" minLength:"1" maxLength:"128" example:"9f2c1f0e-1b1c-4a52-8a0e-6a3f4f0b2d55" doc:"any text of your own, new for each decision: the same request with the same key is answered again, and not done again"`
}

// Because is a decision that needs nothing but its reason.
type Because struct {
	Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"why; somebody will ask"`
}

// Decided is what became of a decision.
type Decided struct {
	On     string `json:"on" doc:"the service, or the recovery's id"`
	Did    string `json:"did" doc:"the verb"`
	Leaves string `json:"leaves" doc:"in which state it leaves the service"`
	Link   string `json:"link" doc:"the workflow in the Temporal UI"`
}

// decision is an order of a person's, and what the audit keeps of it.
type decision struct {
	order Order
	entry audit.Entry
	// within bounds the wait for the answer.
	within time.Duration
}

// decide carries a decision out and keeps it, whatever came of it. Once there is
// an answer, said says what it means: whether it was done, and what people read.
func (a *API) decide(ctx context.Context, d decision, answer any, said func() (result, text string)) error {
	person := access.Of(ctx)
	d.entry.Who, d.entry.Role, d.entry.From, d.entry.Key = person.Name, string(person.Role), person.From, d.order.Key
	// The key is the person's own: two people who use the same one decide twice, and so do two verbs.
	d.order.Key = strings.Join([]string{d.entry.Did, person.Name, d.order.Key}, "/")
	within := orderIn
	if d.within > 0 {
		within = d.within
	}
	waiting, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := a.Orders.Order(waiting, d.order, answer)
	switch {
	case err == nil:
		d.entry.Result, d.entry.Text = said()
	case errors.Is(err, ErrRefused), errors.Is(err, ErrOver):
		err = a.explain(ctx, d.order, err)
		d.entry.Result, d.entry.Text = audit.Refused, err.Error()
		err = huma.Error409Conflict(d.entry.Text)
	default:
		d.entry.Result, d.entry.Text = audit.Unsure, err.Error()
		err = huma.Error503ServiceUnavailable("no answer came in time, and it may have been carried out; send the same request with the same Idempotency-Key again", err)
	}
	a.keep(d.entry)
	return err
}

// explain says what a refusal means to people.
func (a *API) explain(ctx context.Context, o Order, err error) error {
	if !errors.Is(err, ErrOver) {
		return errors.New(strings.TrimPrefix(err.Error(), ErrRefused.Error()+": "))
	}
	id := RecoveryName(o.Service, o.Epoch)
	if report, err := a.report(ctx, o.Service, o.Epoch); err == nil && report.Outcome != "" {
		return fmt.Errorf("recovery %s is over: %s", id, report.Outcome)
	}
	return fmt.Errorf("recovery %s is not running", id)
}

// keep writes down a decision. One that was carried out and cannot be written
// down is not undone: the workflow's history has it, and people are told here.
func (a *API) keep(e audit.Entry) {
	if err := a.Audit.Record(e); err != nil {
		a.Log.Error("a decision could not be written to the audit log; the workflow's history has it", "who", e.Who, "did", e.Did, "on", e.On, "error", err)
	}
}
