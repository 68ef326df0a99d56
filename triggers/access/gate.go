package access

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/exporter-toolkit/web"

	"github.com/understudy-dr/understudy/runbooks"
)

// maxForm is the largest form that is read, in bytes.
const maxForm = 64 << 10

// Options say who may come in.
type Options struct {
	// Address is listen.api of the site file, WebConfig its listen.web_config, Console its links.console.
	Address, WebConfig, Console string
	// Users are those of the site file.
	Users []runbooks.User
	// Open are the paths that need no login, Ingest those that take alerts.
	Open, Ingest []string
	// DataDir keeps the key of forms.
	DataDir string
	// Refused is told of every attempt to change something that was turned away for want of a role.
	Refused func(p Person, r *http.Request, why string)
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Gate lets people in.
type Gate struct {
	Options
	// logins is nil where nobody logs in.
	logins *logins
	// names are the hosts under which a browser may know us where nobody logs in.
	names []string
	roles map[string]Role
	forms forms
	cross *http.CrossOriginProtection
	tls   web.TLSConfig
	http2 bool
	// headers of the web config file, added to every answer.
	headers map[string]string
	failed  prometheus.Counter
}

// New makes a gate. It refuses an address beyond loopback without logins, users
// without a password, and a web config file that cannot be used.
func New(o Options) (*Gate, error) {
	g := &Gate{Options: o, roles: map[string]Role{}, cross: http.NewCrossOriginProtection()}
	g.failed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "understudy_logins_failed_total",
		Help: "Requests with a wrong user name or password.",
	})
	var err error
	if g.forms, err = openForms(o.DataDir); err != nil {
		return nil, err
	}
	if console, err := url.Parse(o.Console); err == nil && console.Host != "" {
		g.names = append(g.names, console.Hostname())
		if err := g.cross.AddTrustedOrigin(console.Scheme + "://" + console.Host); err != nil {
			return nil, fmt.Errorf("links.console: %w", err)
		}
	}
	for _, u := range o.Users {
		g.roles[u.Name] = Role(u.Role)
	}
	var config webConfig
	if o.WebConfig != "" {
		if config, err = readWebConfig(o.WebConfig); err != nil {
			return nil, err
		}
		g.tls, g.http2, g.headers = config.TLSConfig, config.HTTPConfig.HTTP2, config.HTTPConfig.Header
	}
	if err := checkOpen(o.Address, o.WebConfig, len(config.Users) > 0); err != nil {
		return nil, err
	}
	if len(config.Users) > 0 {
		without, err := config.checkUsers(o.WebConfig, o.Users)
		if err != nil {
			return nil, err
		}
		if len(without) > 0 {
			o.Log.Warn("users without a role may do nothing; name them below users: in the site file", "users", without)
		}
		if g.logins, err = newLogins(o.WebConfig, config, o.Log); err != nil {
			return nil, fmt.Errorf("web config %s: %w", o.WebConfig, err)
		}
		if !g.tls.IsEnabled() && !Loopback(o.Address) {
			o.Log.Warn("passwords come in the clear: the web config file has no tls_server_config", "address", o.Address)
		}
	} else {
		o.Log.Info("nobody logs in: whoever reaches the address may do everything", "address", o.Address)
	}
	o.Metrics.MustRegister(g.failed)
	return g, nil
}

// Secure makes a server speak TLS as the web config file says, and reports
// whether it does. Certificates are read again for each connection.
func (g *Gate) Secure(server *http.Server) (bool, error) {
	if !g.tls.IsEnabled() {
		return false, nil
	}
	config, err := web.ConfigToTLSConfig(&g.tls)
	if err != nil {
		return false, fmt.Errorf("web config %s: %w", g.WebConfig, err)
	}
	server.TLSConfig = config
	if !g.http2 {
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	}
	return true, nil
}

// Token is for the forms of a page that this person reads, in the field FormField.
func (g *Gate) Token(p Person) string { return g.forms.token(p.Name, time.Now()) }

// Guard stands before a handler: who does not get past never reaches it.
func (g *Gate) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("X-Frame-Options", "DENY")
		w.Header().Set("Referrer-Policy", "same-origin")
		for name, value := range g.headers {
			w.Header().Set(name, value)
		}
		if slices.Contains(g.Open, r.URL.Path) && reads(r.Method) {
			next.ServeHTTP(w, r)
			return
		}
		person, no := g.person(r)
		if no == nil {
			no = g.may(person, r)
		}
		if no == nil {
			no = g.meant(person, w, r)
		}
		if no != nil {
			no.answer(w)
			return
		}
		next.ServeHTTP(w, r.WithContext(With(r.Context(), person)))
	})
}

// needs is the role that a request asks for: known by method and path alone, so
// that nothing which is served later is open by mistake.
func (g *Gate) needs(r *http.Request) Role {
	switch {
	case slices.Contains(g.Ingest, r.URL.Path):
		return Ingest
	case reads(r.Method):
		return Viewer
	default:
		return Responder
	}
}

func reads(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// may asks for the role.
func (g *Gate) may(p Person, r *http.Request) *refusal {
	need := g.needs(r)
	if p.Role.Includes(need) {
		return nil
	}
	why := fmt.Sprintf("%s has the role %s, and this takes %s", p.Name, p.Role, need)
	if p.Role == Nobody {
		why = fmt.Sprintf("%s has no role; name one below users: in the site file", p.Name)
	}
	if need == Responder {
		g.Refused(p, r, why)
	}
	return refuse(http.StatusForbidden, "%s", why)
}

// meant turns away what a browser was made to send by a page that is not ours.
func (g *Gate) meant(p Person, w http.ResponseWriter, r *http.Request) *refusal {
	if reads(r.Method) {
		return nil
	}
	if err := g.cross.Check(r); err != nil {
		return refuse(http.StatusForbidden, "the request comes from the page of another site (%s)", printable(r.Header.Get("Origin")))
	}
	if slices.Contains(g.Ingest, r.URL.Path) {
		return nil
	}
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	switch {
	case kind == "application/json" || r.Header.Get("Idempotency-Key") != "":
		return nil // a foreign page cannot send either without being allowed to, and nobody is
	case kind == "application/x-www-form-urlencoded":
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if r.ParseForm() != nil || !g.forms.right(r.PostForm.Get(FormField), p.Name, time.Now()) {
			return refuse(http.StatusForbidden, "the page was too old, or is not ours; load it again and repeat")
		}
		return nil
	default:
		return refuse(http.StatusUnsupportedMediaType, "send application/json, with an Idempotency-Key")
	}
}
