package console

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"

	"github.com/google/uuid"

	"github.com/understudy-dr/understudy/triggers/access"
)

// page is what the frame around every page shows.
type page struct {
	// Title is the browser's, Here the entry of the navigation that is marked.
	Title, Here string
	Version     string
	Person      access.Person
	// May reports whether the person may decide: whoever may not sees no buttons.
	May bool
	// Token is for every form of the page.
	Token string
	// Events is the stream whose events make the page look again; empty where nothing changes.
	Events string
	// Every is after how many seconds the script looks again without an event, for what no event tells of; 0 means never.
	Every int
	// Reload is after how many seconds a browser without a script loads the page again; 0 means never.
	Reload int
	// Problem is why what was just ordered was not done; Done says what was.
	Problem, Done string
	// Stamp tells one version of the program's style and script from another.
	Stamp string
	Body  any
}

// stamp changes with what is in the files of style and script.
var stamp = func() string {
	sum := fnv.New32a()
	for _, name := range []string{"assets/console.css", "assets/console.js"} {
		text, err := assets.ReadFile(name)
		if err != nil {
			panic("console: " + err.Error()) // it was built without them
		}
		sum.Write(text)
	}
	return fmt.Sprintf("%08x", sum.Sum32())
}()

// show writes a page. It is made as a whole first: half a page says half the truth.
func (c *Console) show(w http.ResponseWriter, r *http.Request, status int, name string, p page) {
	p.Person, p.Version, p.Stamp = access.Of(r.Context()), c.Version, stamp
	p.May = p.Person.Role.Includes(access.Responder)
	if p.May {
		p.Token = c.Token(p.Person)
	}
	var text bytes.Buffer
	if err := c.pages[name].ExecuteTemplate(&text, "frame", p); err != nil {
		c.Log.Error("a page of the console could not be made", "page", name, "error", err)
		http.Error(w, "the page could not be made; the log says why. The command line works without it: understudy status", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	w.WriteHeader(status)
	_, _ = w.Write(text.Bytes()) // who does not read it any more misses nothing
}

// fail shows why there is no page.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, text := http.StatusServiceUnavailable, err.Error()
	var no *problem
	if errors.As(err, &no) {
		status = no.Status
	}
	c.show(w, r, status, "problem", page{Title: http.StatusText(status), Body: text})
}

// newKey is for one decision: the form that carries it may be sent twice, and
// decides once.
func newKey() string { return uuid.NewString() }
