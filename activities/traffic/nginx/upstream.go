package nginx

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/runbooks"
)

// Initial is the upstream file of a runbook before Understudy has changed
// anything: the server named is ready, all others are in maintenance. nginx
// includes it within http.
func Initial(t runbooks.Traffic, ready string) ([]byte, error) {
	b, err := New(t)
	if err != nil {
		return nil, err
	}
	servers := b.withRunbook(nil)
	i := slices.IndexFunc(servers, func(s traffic.Server) bool { return s.Name == ready })
	if i < 0 {
		return nil, fmt.Errorf("%w: traffic.servers has no %s", traffic.ErrNoServer, ready)
	}
	servers[i].State = traffic.Ready
	return render(t.Backend, servers), nil
}

// Location is the location with which nginx tells what it runs with. It belongs
// into the server block of the runbook's traffic.front, and answers only the
// machine itself.
func Location(upstream string) string {
	return fmt.Sprintf(`location = %s {
    if ($remote_addr !~ "^(127\.|::1$)") { return 404; }
    default_type text/plain;
    return 200 $%s;
}
`, locationPath+upstream, variable(upstream))
}

// render writes the file. Everything in it was validated: nothing can end a
// directive but we ourselves.
func render(upstream string, servers []traffic.Server) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Written by Understudy, which replaces this file whenever it moves traffic.\n")
	fmt.Fprintf(&b, "upstream %s {\n", upstream)
	for _, s := range servers {
		params := ""
		if s.Backup {
			params += " backup"
		}
		if s.State != traffic.Ready {
			params += " down"
		}
		fmt.Fprintf(&b, "    server %s max_fails=0%s; # %s %s\n", s.Address, params, s.Name, s.State)
	}
	fmt.Fprintf(&b, "}\n\n# What nginx tells Understudy of itself; the same states once more.\n")
	fmt.Fprintf(&b, "map \"\" $%s {\n    default \"$pid: %s\";\n}\n", variable(upstream), tell(servers))
	return b.Bytes()
}

var (
	serverLine = regexp.MustCompile(`^\s*server\s+([^\s;]+)([^;]*);\s*#\s*(\S+)\s+(\S+)\s*$`)
	openLine   = regexp.MustCompile(`^\s*upstream\s+(\S+)\s*\{\s*$`)
)

// parse reads the upstream block of the file. It takes only what render writes:
// a line that it does not know would be lost with the next change.
func parse(upstream string, text []byte) ([]traffic.Server, error) {
	var servers []traffic.Server
	open, found := false, false
	for i, line := range strings.Split(string(text), "\n") {
		wrong := func(why string) error { return fmt.Errorf("line %d: %s", i+1, why) }
		switch trimmed := strings.TrimSpace(line); {
		case trimmed == "" || strings.HasPrefix(trimmed, "#"):
		case !open:
			if m := openLine.FindStringSubmatch(line); m != nil && m[1] == upstream {
				open, found = true, true
			}
		case trimmed == "}":
			open = false
		default:
			m := serverLine.FindStringSubmatch(line)
			if m == nil {
				return nil, wrong("not a line of Understudy's: server ADDRESS max_fails=0; # NAME STATE")
			}
			s := traffic.Server{Name: m[3], Address: m[1], State: traffic.State(m[4])}
			down := false
			for _, param := range strings.Fields(m[2]) {
				switch param {
				case "max_fails=0":
				case "backup":
					s.Backup = true
				case "down":
					down = true
				default:
					return nil, wrong(fmt.Sprintf("%q would be lost with the next change; this file belongs to Understudy", param))
				}
			}
			if err := valid(s); err != nil {
				return nil, wrong(err.Error())
			}
			if down == (s.State == traffic.Ready) {
				return nil, wrong(fmt.Sprintf("the comment says %s, and the parameters do not", s.State))
			}
			servers = append(servers, s)
		}
	}
	if !found || open {
		return nil, fmt.Errorf("has no complete upstream %s", upstream)
	}
	return servers, nil
}

func valid(s traffic.Server) error {
	c := traffic.Change{Set: []traffic.Assignment{{Server: s.Name, State: s.State, Address: s.Address}}}
	return errors.Join(c.Validate(), traffic.ValidAddress(s.Address))
}

// tell puts the states into one line without quotes, such as
// "primary 10.0.0.10:5000 ready, hot 10.0.0.11:5000 maint backup".
func tell(servers []traffic.Server) string {
	var parts []string
	for _, s := range servers {
		text := fmt.Sprintf("%s %s %s", s.Name, s.Address, s.State)
		if s.Backup {
			text += " backup"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// hear reads what nginx makes of that: the worker's process id, and what tell wrote.
func hear(text string) (answer, error) {
	pid, list, found := strings.Cut(text, ": ")
	worker, err := strconv.Atoi(pid)
	if !found || err != nil {
		return answer{}, errors.New("it begins with no process id")
	}
	a := answer{worker: worker}
	for part := range strings.SplitSeq(list, ", ") {
		words := strings.Fields(part)
		if len(words) < 3 || len(words) > 4 || (len(words) == 4 && words[3] != "backup") {
			return answer{}, fmt.Errorf("%q is no server with its address and state", part)
		}
		s := traffic.Server{Name: words[0], Address: words[1], State: traffic.State(words[2]), Backup: len(words) == 4}
		if err := valid(s); err != nil {
			return answer{}, err
		}
		a.servers = append(a.servers, s)
	}
	return a, nil
}

// variable is the name of nginx's variable that holds the states.
func variable(upstream string) string {
	return "understudy_" + regexp.MustCompile(`[^A-Za-z0-9_]`).ReplaceAllString(upstream, "_")
}
