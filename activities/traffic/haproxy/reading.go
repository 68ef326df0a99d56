package haproxy

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// Bits of srv_admin_state that drain a server: set here, and inherited from the server that it tracks.
	forcedDrain    = 0x08
	inheritedDrain = 0x10
	// Bit of srv_check_state of a server that has checks of its own, also while they rest.
	checksEnabled = 0x04
)

// reading is what one HAProxy showed, or why it did not.
type reading struct {
	socket  socket
	servers []server
	at      time.Time
	err     error
}

// server is a server with what only HAProxy knows of it.
type server struct {
	traffic.Server
	// weightless is true where it gets no traffic because its weight is 0.
	weightless bool
	// checks is true where HAProxy checks its health, also while it is in maintenance and the checks rest.
	checks bool
	// limit is its maxconn, empty where it has none.
	limit string
}

func (r reading) view() traffic.View {
	v := traffic.View{At: r.at}
	for _, s := range r.servers {
		v.Servers = append(v.Servers, s.Server)
	}
	return v
}

// server finds a server that is there.
func (r reading) server(name string) server {
	i := slices.IndexFunc(r.servers, func(s server) bool { return s.Name == name })
	return r.servers[i]
}

// shows reports how the reading differs from a change, and what HAProxy says about those that differ.
func (r reading) shows(c traffic.Change) error {
	err := r.view().Shows(c)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("haproxy at %s: %w", r.socket, err)
	for _, a := range c.Set {
		if s, ok := r.view().Server(a.Server); ok && s.State != a.State && s.Check != "" {
			err = fmt.Errorf("%w; %s: %s", err, s.Name, s.Check)
		}
	}
	return err
}

// parse reads the replies to the commands of look. Columns are found by name:
// their order and number differ between versions.
func (b *Balancer) parse(s socket, replies []string, err error) reading {
	if err != nil {
		return reading{socket: s, err: err}
	}
	states, stats := replies[0], replies[1]
	for _, reply := range replies {
		// The two commands word it differently: "No such proxy." and "Can't find backend."
		if strings.HasPrefix(reply, "No such") || strings.HasPrefix(reply, "Can't find") {
			return reading{socket: s, err: fmt.Errorf("%w: haproxy at %s has no backend %s; compare traffic.backend with haproxy.cfg", traffic.ErrNoServer, s, b.backend)}
		}
	}
	servers, err := parseServers(states, stats)
	if err != nil {
		err = fmt.Errorf("%w: haproxy at %s: %w", traffic.ErrUnreachable, s, err)
	}
	return reading{socket: s, servers: servers, err: err}
}

func parseServers(states, stats string) ([]server, error) {
	admin := map[string]row{}
	_, states, _ = strings.Cut(states, "\n") // the first line is the number of the format
	lines, err := rows(states, ' ')
	for _, r := range lines {
		admin[r["srv_name"]] = r
	}
	if err == nil {
		lines, err = rows(stats, ',')
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read what it shows: %w", err)
	}
	var servers []server
	for _, r := range lines {
		name := r["svname"]
		state, ok := admin[name]
		if !ok || r["status"] == "" || state["srv_admin_state"] == "" {
			return nil, fmt.Errorf("cannot read what it shows of server %q", probe.Printable(name, 40))
		}
		servers = append(servers, r.server(name, state))
	}
	if len(servers) == 0 {
		return nil, errors.New("cannot read what it shows; is this an HAProxy stats socket?")
	}
	return servers, nil
}

// row is one line of a table by the names of its columns.
type row map[string]string

// rows reads a table whose first line names the columns, after "# ".
func rows(table string, comma rune) ([]row, error) {
	names, body, _ := strings.Cut(strings.TrimPrefix(table, "# "), "\n")
	reader := csv.NewReader(strings.NewReader(body))
	reader.Comma, reader.FieldsPerRecord = comma, -1
	records, err := reader.ReadAll()
	columns := strings.Split(names, string(comma))
	var out []row
	for _, record := range records {
		r := row{}
		for i, value := range record[:min(len(record), len(columns))] {
			r[columns[i]] = value
		}
		out = append(out, r)
	}
	return out, err
}

// server reads one line of "show stat"; state is the server's line of "show servers state".
func (r row) server(name string, state row) server {
	checks, _ := strconv.ParseUint(state["srv_check_state"], 10, 32)
	s := server{weightless: state["srv_uweight"] == "0", checks: checks&checksEnabled != 0, limit: r["slim"]}
	s.Name, s.Backup, s.State = name, r["bck"] == "1", traffic.Ready
	if ip, err := netip.ParseAddr(state["srv_addr"]); err == nil {
		port, _ := strconv.ParseUint(state["srv_port"], 10, 16)
		s.Address = netip.AddrPortFrom(ip, uint16(port)).String()
	}
	bits, _ := strconv.ParseUint(state["srv_admin_state"], 10, 32)
	switch {
	case strings.HasPrefix(r["status"], "MAINT"):
		s.State = traffic.Maint
	case bits&(forcedDrain|inheritedDrain) != 0, s.weightless:
		s.State = traffic.Drain
	}
	if s.State != traffic.Maint && r.checked() {
		// NOLB: its check answers 404, by which a server asks for no new requests (http-check disable-on-404).
		up := !strings.HasPrefix(r["status"], "DOWN") && !strings.HasPrefix(r["status"], "NOLB")
		s.Up, s.Failing = &up, up && r.failing()
	}
	s.Check = r.check(s.Up, s.Failing)
	s.Requests = r.inFlight()
	return s
}

// checked reports whether HAProxy itself knows if the server is well.
func (r row) checked() bool {
	return r["check_status"] != "" || r["agent_status"] != "" || r["tracked"] != ""
}

// failing reports whether the last check found the server unwell. SOCKERR is
// HAProxy's own trouble, and INI, UNK and a check that still runs say nothing.
func (r row) failing() bool {
	switch strings.TrimPrefix(r["check_status"], "* ") {
	case "L4TOUT", "L4CON", "L6TOUT", "L6RSP", "L7TOUT", "L7RSP", "L7STS", "PROCERR", "PROCTOUT":
		return true
	default:
		return false
	}
}

// check explains in words how HAProxy knows, such as "L4CON Connection refused in 0ms, down for 12s".
func (r row) check(up *bool, failing bool) string {
	var words []string
	switch status := strings.TrimPrefix(r["check_status"], "* "); {
	case r["status"] == "MAINT (resolution)":
		return "its name does not resolve"
	case r["tracked"] != "":
		words = append(words, "follows "+r["tracked"])
	case up == nil:
	case status == "INI":
		words = append(words, "not checked yet")
	case status != "":
		text := strings.Join(strings.Fields(status+" "+r["check_code"]+" "+probe.Printable(r["last_chk"], 80)), " ")
		words = append(words, text+" in "+cmp.Or(r["check_duration"], "0")+"ms")
	}
	if strings.HasSuffix(r["status"], "(agent)") {
		words = append(words, "its agent says so: "+r["agent_status"])
	}
	if since, err := strconv.Atoi(r["lastchg"]); failing {
		words = append(words, "still counted as up")
	} else if err == nil && up != nil {
		words = append(words, fmt.Sprintf("%s for %s", map[bool]string{true: "up", false: "down"}[*up], time.Duration(since)*time.Second))
	}
	return strings.Join(words, ", ")
}

// inFlight counts the requests that hold a place at the server: neither those
// that wait in a queue for it, nor clients that keep an idle connection open.
//
// The age is that of the request that was assigned last, so that of the oldest
// is this or more. The ages in "show sess" would promise more: of a client that
// keeps its connection they count from the end of its previous request, and a
// busy server would seem to hang because its client had a long pause before.
func (r row) inFlight() *runbooks.InFlight {
	requests, err := strconv.Atoi(r["scur"])
	if err != nil {
		return nil
	}
	in := &runbooks.InFlight{Requests: requests}
	if age, err := strconv.Atoi(r["lastsess"]); err == nil && age > 0 && requests > 0 {
		in.Oldest = runbooks.Duration(time.Duration(age) * time.Second)
	}
	return in
}
