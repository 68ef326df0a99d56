package console

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
)

// batchesPage lists the batches of all services.
type batchesPage struct {
	Rows []batchRow
	// Missing are services whose batch store does not answer, with what it says.
	Missing []string
	// Kept reports whether any runbook names a batch store.
	Kept bool
}

// batchRow is one batch with its progress.
type batchRow struct {
	Job, Service, State, Tone, Reason string
	// Parts are what became of the items, in per cent of all.
	Parts                          []part
	Percent                        float64
	Items, Settled                 int64
	Succeeded, Failed, Quarantined int64
	// Audio is transcribed of Total; Redone was done twice; Left is how long the rest will take.
	Audio, Total, Redone, Speed, Left string
	// On is where it is worked on, Holder by whom, Moves how often it went on elsewhere.
	On, Holder string
	Epoch      int64
	Moves      int
	Created    time.Time
	CreatedAgo string
	CreatedBy  string
	Link       string
}

// part is a piece of a batch's bar.
type part struct {
	Start, Width float64
	Tone         string
}

// batchPage is one batch.
type batchPage struct {
	batchRow
	Store, Base, Output string
}

func (c *Console) batches(w http.ResponseWriter, r *http.Request) {
	var services []string
	for _, name := range c.Library().Services() {
		if book, _ := c.Library().Lookup(name); keepsBatches(book) {
			services = append(services, name)
		}
	}
	body := batchesPage{Kept: len(services) > 0}
	var mu sync.Mutex
	eachAtOnce(len(services), func(i int) {
		var all []triggers.Batch
		err := c.get(r.Context(), "/services/"+url.PathEscape(services[i])+"/batches", &all)
		mu.Lock()
		defer mu.Unlock()
		var no *problem
		if err != nil && !(errors.As(err, &no) && no.Status == http.StatusNotFound) { // on this tier it keeps none
			body.Missing = append(body.Missing, services[i]+": "+err.Error())
		}
		for _, b := range all {
			body.Rows = append(body.Rows, viewBatch(b, c.Now()))
		}
	})
	slices.Sort(body.Missing)
	slices.SortFunc(body.Rows, func(x, y batchRow) int {
		return cmp.Or(y.Created.Compare(x.Created), cmp.Compare(x.Service, y.Service), cmp.Compare(x.Job, y.Job))
	})
	p := page{Title: "Batches", Here: "batches", Body: body}
	if slices.ContainsFunc(body.Rows, batchRow.open) {
		p.Every, p.Reload = 3, 10
	}
	c.show(w, r, http.StatusOK, "batches", p)
}

// keepsBatches reports whether a service has a batch store on any of its tiers.
func keepsBatches(book runbooks.Runbook) bool {
	return book.BatchesOf(runbooks.PrimaryName) != nil || slices.ContainsFunc(book.Tiers, func(t runbooks.Tier) bool { return book.BatchesOf(t.Name) != nil })
}

func (c *Console) batch(w http.ResponseWriter, r *http.Request) {
	at := "/services/" + url.PathEscape(r.PathValue("service")) + "/batches/" + url.PathEscape(r.PathValue("job"))
	var d triggers.BatchDetail
	if err := c.get(r.Context(), at, &d); err != nil {
		c.fail(w, r, err)
		return
	}
	body := batchPage{batchRow: viewBatch(d.Batch, c.Now()), Store: d.Store, Base: d.Definition.Base}
	if d.Report != nil {
		body.Output = base + at + "/output"
	}
	p := page{Title: d.Job, Here: "batches", Body: body}
	if body.open() {
		p.Every, p.Reload = 3, 10
	}
	c.show(w, r, http.StatusOK, "batch", p)
}

func (b batchRow) open() bool { return b.State == "running" || b.State == "waiting" }

// viewBatch is a batch as people read it.
func viewBatch(b triggers.Batch, now time.Time) batchRow {
	row := batchRow{
		Job: b.Job, Service: b.Service, State: b.State, Tone: batchTone(b), Reason: b.Reason, Items: b.Items, Settled: b.Succeeded + b.Failed + b.Quarantined,
		Succeeded: b.Succeeded, Failed: b.Failed, Quarantined: b.Quarantined, Audio: span(b.AudioSeconds), Total: span(b.TotalSeconds), On: b.On, Holder: b.Holder,
		CreatedBy: b.CreatedBy, Epoch: b.Epoch, Moves: b.Moves, Created: b.Created, Link: b.Link,
	}
	if b.RedoneSeconds > 0 {
		row.Redone = span(b.RedoneSeconds)
	}
	if b.Speed > 0 {
		row.Speed = fmt.Sprintf("%.1f× real time", b.Speed)
	}
	if b.LeftSeconds > 0 {
		row.Left = span(b.LeftSeconds)
	}
	if !b.Created.IsZero() {
		row.CreatedAgo = ago(b.Created, now)
	}
	at := 0.0
	for _, p := range []struct {
		items int64
		tone  string
	}{{b.Succeeded, toneGood}, {b.Failed, toneBad}, {b.Quarantined, toneWarn}} {
		if p.items > 0 && b.Items > 0 {
			width := min(100-at, float64(p.items)/float64(b.Items)*100)
			row.Parts = append(row.Parts, part{Start: at, Width: width, Tone: p.tone})
			at += width
		}
	}
	row.Percent = at
	return row
}

func batchTone(b triggers.Batch) string {
	switch {
	case b.State == "running":
		return toneBusy
	case b.State == "finished" && b.Failed+b.Quarantined == 0:
		return toneGood
	case b.State == "finished", b.State == "waiting":
		return toneWarn
	case b.State == "cancelled":
		return toneIdle
	default:
		return toneBad
	}
}
