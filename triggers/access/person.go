package access

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
)

// NameHeader says who sends a request where nobody logs in.
const NameHeader = "Understudy-User"

// stranger is who sends a request and says no name.
const stranger = "somebody on this host"

// Person is who sends a request.
type Person struct {
	Name string
	Role Role
	// From is the address that the request came from, and whom a proxy says it stands for.
	From string
}

type personKey struct{}

// With adds the person to a request's context.
func With(ctx context.Context, p Person) context.Context {
	return context.WithValue(ctx, personKey{}, p)
}

// Of is the person who sends the request; nobody, with no role, where no gate was passed.
func Of(ctx context.Context) Person {
	p, _ := ctx.Value(personKey{}).(Person)
	return p
}

// person finds out who sends a request.
func (g *Gate) person(r *http.Request) (Person, *refusal) {
	from := address(r)
	if g.logins == nil {
		if !g.ours(r.Host) {
			return Person{}, refuse(http.StatusMisdirectedRequest, "%q is no name of this Understudy; behind a proxy, write the address that people use into links.console", printable(r.Host))
		}
		name := printable(r.Header.Get(NameHeader))
		if name == "" {
			name = stranger
		}
		return Person{Name: name, Role: Approver, From: from}, nil
	}
	name, password, ok := r.BasicAuth()
	if !ok {
		return Person{}, refuse(http.StatusUnauthorized, "log in: user name and password are wanted (HTTP basic authentication)")
	}
	right, err := g.logins.check(r.Context(), name, password, host(r.RemoteAddr))
	switch {
	case errors.Is(err, errTooMany):
		status := http.StatusTooManyRequests
		if g.needs(r) == Ingest {
			status = http.StatusServiceUnavailable // what Alertmanager sends again
		}
		return Person{}, refuse(status, "too many logins have failed; wait a minute")
	case err != nil:
		return Person{}, refuse(http.StatusServiceUnavailable, "the password could not be checked in time; try again")
	case !right:
		g.failed.Inc()
		g.Log.Warn("a login failed", "user", printable(name), "from", from)
		return Person{}, refuse(http.StatusUnauthorized, "the user name or the password is wrong")
	}
	return Person{Name: name, Role: g.roles[name], From: from}, nil
}

// ours reports whether a host name is one of ours: with another one, a page
// from elsewhere has had its own name lead here (DNS rebinding).
func (g *Gate) ours(hostport string) bool {
	name := strings.Trim(host(hostport), "[]")
	ip := net.ParseIP(name)
	return name == "" || strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback() || slices.Contains(g.names, name)
}

// address is where a request comes from, for people who read the audit.
func address(r *http.Request) string {
	from := host(r.RemoteAddr)
	if via := printable(r.Header.Get("X-Forwarded-For")); via != "" {
		from += ", which says that it forwards for " + via
	}
	return from
}

func host(hostport string) string {
	name, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return hostport
	}
	return name
}
