// Package console is what people look at when something is wrong: pages that say
// where each service runs, what a recovery would do, what one does, and what past
// ones did, with the buttons that decide.
//
// The [Console] is a client of the API, as the command line is, only in the same
// process: it asks as the person who looks at the page, so that roles, keys and
// the audit are those of the API and nothing can be done here that could not be
// done there. Pages are made on the server and can be read without a script; the
// one script lets them follow what happens, opens dialogs, and keeps a button from
// being pressed twice. Nothing comes from outside, and no style or script stands
// in a page: the content security policy allows neither.
package console

import (
	"embed"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers/access"
)

// policy is the content security policy of every page: what is ours, and nothing
// that stands in the page itself.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

//go:embed pages/*.html
var pages embed.FS

//go:embed assets
var assets embed.FS

// API is what the console asks: the one of package triggers.
type API interface{ Mount(mux *http.ServeMux) }

// Config is what the console works with.
type Config struct {
	API     API
	Library func() *runbooks.Library
	// Token makes the token of a person's forms: that of the gate.
	Token   func(p access.Person) string
	Version string
	Log     *slog.Logger
	// Now is the clock; nil is the real one.
	Now func() time.Time
}

// Console serves the pages.
type Console struct {
	Config
	api   *http.ServeMux
	pages map[string]*template.Template
}

// New makes the console. The API is mounted once more, for the console alone.
func New(c Config) *Console {
	if c.Now == nil {
		c.Now = time.Now
	}
	p := &Console{Config: c, api: http.NewServeMux(), pages: map[string]*template.Template{}}
	c.API.Mount(p.api)
	frame := template.Must(template.New("frame").Funcs(words).ParseFS(pages, "pages/frame.html", "pages/parts.html"))
	names, _ := fs.Glob(pages, "pages/*.html") // the pattern is right
	for _, name := range names {
		p.pages[strings.TrimSuffix(strings.TrimPrefix(name, "pages/"), ".html")] = template.Must(template.Must(frame.Clone()).ParseFS(pages, name))
	}
	return p
}

// Routes are the patterns under which the console answers, in the order in which
// a person meets them. Whatever is read takes the role viewer, the rest responder:
// the gate knows by the method.
func (c *Console) Routes() []string {
	var all []string
	for _, r := range c.routes() {
		all = append(all, r.pattern)
	}
	return all
}

type route struct {
	pattern string
	handler http.HandlerFunc
}

func (c *Console) routes() []route {
	return []route{
		{"GET /{$}", c.services},
		{"POST /pause", c.orderAll},
		{"POST /resume", c.orderAll},
		{"GET /services/{service}", c.service},
		{"GET /services/{service}/recover", c.plan},
		{"POST /services/{service}/recover", c.recover},
		{"POST /services/{service}/{verb}", c.orderService},
		{"GET /recoveries/{id}", c.recovery},
		{"POST /recoveries/{id}/{verb}", c.orderRecovery},
		{"GET /history", c.history},
		{"GET /batches", c.batches},
		{"GET /batches/{service}/{job}", c.batch},
		{"GET /assets/{file}", c.asset},
	}
}

// Mount adds the pages to a server.
func (c *Console) Mount(mux *http.ServeMux) {
	for _, r := range c.routes() {
		mux.HandleFunc(r.pattern, r.handler)
	}
}

// asset serves a style or a script. They change with the program, whose version
// stands in their address.
func (c *Console) asset(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "private, max-age=3600")
	http.ServeFileFS(w, r, assets, "assets/"+r.PathValue("file"))
}
