package haproxy

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/activities/traffic"
)

// The columns that matter, in another order than HAProxy 2.6 has them and with
// a stranger between them.
const (
	stateColumns = "1\n# srv_name be_name srv_port srv_addr novelty srv_uweight srv_admin_state\n"
	statColumns  = "# svname,pxname,novelty,scur,lastsess,status,bck,lastchg,check_status,check_code,check_duration,last_chk,agent_status,tracked,\n"
)

func TestParseServers(t *testing.T) {
	for _, c := range []struct {
		name, state, stat string
		want              string
	}{
		{"up", "a speech 80 10.0.0.1 x 1 0", `a,speech,x,0,-1,UP,0,31,L7OK,200,1,,,,`,
			`{"name":"a","address":"10.0.0.1:80","state":"ready","up":true,"check":"L7OK 200 in 1ms, up for 31s","requests":{"requests":0,"oldest":"0s"}}`},
		{"a check is running", "a speech 80 10.0.0.1 x 1 0", `a,speech,x,2,7,UP 2/3,0,31,* L7OK,200,1,,,,`,
			`{"name":"a","address":"10.0.0.1:80","state":"ready","up":true,"check":"L7OK 200 in 1ms, up for 31s","requests":{"requests":2,"oldest":"7s"}}`},
		{"failing, and still up", "a speech 80 10.0.0.1 x 1 0", `a,speech,x,1,9,UP 571/600,0,65,* L7TOUT,,1001,,,,`,
			`{"name":"a","address":"10.0.0.1:80","state":"ready","up":true,"failing":true,"check":"L7TOUT in 1001ms, still counted as up","requests":{"requests":1,"oldest":"9s"}}`},
		{"a trouble of HAProxy's own", "a speech 80 10.0.0.1 x 1 0", `a,speech,x,0,-1,UP 1/3,0,65,SOCKERR,,0,,,,`,
			`{"name":"a","address":"10.0.0.1:80","state":"ready","up":true,"check":"SOCKERR in 0ms, up for 1m5s","requests":{"requests":0,"oldest":"0s"}}`},
		{"down", "a speech 80 10.0.0.1 x 1 0", `a,speech,x,0,9,DOWN,0,65,L4CON,,0,Connection refused,,,`,
			`{"name":"a","address":"10.0.0.1:80","state":"ready","up":false,"check":"L4CON Connection refused in 0ms, down for 1m5s","requests":{"requests":0,"oldest":"0s"}}`},
		{"coming up", "a speech 80 10.0.0.1 x 1 0", `a,speech,x,0,-1,DOWN 1/2,1,3,L7STS,503,2,"say ""no""",,,`,
			`{"name":"a","address":"10.0.0.1:80","state":"ready","up":false,"check":"L7STS 503 say \"no\" in 2ms, down for 3s","backup":true,"requests":{"requests":0,"oldest":"0s"}}`},
		{"not checked", "a speech 80 ::1 x 1 0", `a,speech,x,0,-1,no check,0,3,,,,,,,`,
			`{"name":"a","address":"[::1]:80","state":"ready","requests":{"requests":0,"oldest":"0s"}}`},
		{"in maintenance, with a stale check", "a speech 80 10.0.0.1 x 1 5", `a,speech,x,1,5,MAINT,0,3,L4CON,,0,refused,,,`,
			`{"name":"a","address":"10.0.0.1:80","state":"maint","requests":{"requests":1,"oldest":"5s"}}`},
		{"in maintenance through another", "a speech 80 10.0.0.1 x 1 2", `a,speech,x,0,-1,MAINT (via b/c),0,3,,,,,,b/c,`,
			`{"name":"a","address":"10.0.0.1:80","state":"maint","check":"follows b/c","requests":{"requests":0,"oldest":"0s"}}`},
		{"in maintenance for lack of an address", "a speech 80 - x 1 32", `a,speech,x,0,-1,MAINT (resolution),0,3,,,,,,,`,
			`{"name":"a","state":"maint","check":"its name does not resolve","requests":{"requests":0,"oldest":"0s"}}`},
		{"draining", "a speech 80 10.0.0.1 x 1 8", `a,speech,x,1,4,DRAIN,0,3,L7OK,200,1,,,,`,
			`{"name":"a","address":"10.0.0.1:80","state":"drain","up":true,"check":"L7OK 200 in 1ms, up for 3s","requests":{"requests":1,"oldest":"4s"}}`},
		{"draining and down", "a speech 80 10.0.0.1 x 1 8", `a,speech,x,0,-1,DOWN,0,3,L4TOUT,,1001,,,,`,
			`{"name":"a","address":"10.0.0.1:80","state":"drain","up":false,"check":"L4TOUT in 1001ms, down for 3s","requests":{"requests":0,"oldest":"0s"}}`},
		{"draining through another", "a speech 80 10.0.0.1 x 1 16", `a,speech,x,0,-1,DRAIN,0,3,,,,,,b/c,`,
			`{"name":"a","address":"10.0.0.1:80","state":"drain","up":true,"check":"follows b/c, up for 3s","requests":{"requests":0,"oldest":"0s"}}`},
		{"without weight, which HAProxy calls up", "a speech 80 10.0.0.1 x 0 0", `a,speech,x,0,-1,UP,0,3,L7OK,200,1,,,,`,
			`{"name":"a","address":"10.0.0.1:80","state":"drain","up":true,"check":"L7OK 200 in 1ms, up for 3s","requests":{"requests":0,"oldest":"0s"}}`},
		{"asking for no new requests", "a speech 80 10.0.0.1 x 1 0", `a,speech,x,0,-1,NOLB,0,3,L7OKC,404,1,,,,`,
			`{"name":"a","address":"10.0.0.1:80","state":"ready","up":false,"check":"L7OKC 404 in 1ms, down for 3s","requests":{"requests":0,"oldest":"0s"}}`},
		{"down by its agent", "a speech 80 10.0.0.1 x 1 0", `a,speech,x,0,-1,DOWN (agent),0,3,L7OK,200,1,,L7STS,,`,
			`{"name":"a","address":"10.0.0.1:80","state":"ready","up":false,"check":"L7OK 200 in 1ms, its agent says so: L7STS, down for 3s","requests":{"requests":0,"oldest":"0s"}}`},
		{"a check that quotes a hostile backend", "a speech 80 10.0.0.1 x 1 0", "a,speech,x,0,-1,DOWN,0,3,L7RSP,,1,\"a\x1b[2Jb" + strings.Repeat("c", 100) + "\",,,",
			`{"name":"a","address":"10.0.0.1:80","state":"ready","up":false,"check":"L7RSP a.[2Jb` + strings.Repeat("c", 74) + `... in 1ms, down for 3s","requests":{"requests":0,"oldest":"0s"}}`},
		{"without a count of requests", "a speech 80 10.0.0.1 x 1 0", `a,speech,x,,,no check,0,3,,,,,,,`,
			`{"name":"a","address":"10.0.0.1:80","state":"ready"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			servers, err := parseServers(stateColumns+c.state+"\n", statColumns+c.stat+"\n")
			if err != nil || len(servers) != 1 {
				t.Fatalf("%+v, %v", servers, err)
			}
			if got, _ := json.Marshal(servers[0].Server); string(got) != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestParseServersRefusesWhatItCannotRead(t *testing.T) {
	for name, c := range map[string][2]string{
		"nothing":               {"", ""},
		"no server":             {stateColumns, statColumns},
		"only the state":        {stateColumns + "a speech 80 10.0.0.1 x 1 0\n", statColumns},
		"only the statistics":   {stateColumns, statColumns + "a,speech,x,0,-1,UP,0,31,L7OK,200,1,,,,\n"},
		"a column is missing":   {"1\n# srv_name srv_addr\na 10.0.0.1\n", statColumns + "a,speech,x,0,-1,UP,0,31,L7OK,200,1,,,,\n"},
		"a quote never ends":    {stateColumns + "a speech 80 10.0.0.1 x 1 0\n", statColumns + "a,speech,x,0,-1,\"UP,0,31\n"},
		"a line without status": {stateColumns + "a speech 80 10.0.0.1 x 1 0\n", statColumns + "a,speech\n"},
	} {
		if servers, err := parseServers(c[0], c[1]); err == nil {
			t.Errorf("%s: read as %+v", name, servers)
		}
	}
}

func TestMerge(t *testing.T) {
	shown := func(at, state, stat string) reading {
		servers, err := parseServers(stateColumns+"a speech 80 10.0.0.1 x 1 "+state+"\n", statColumns+"a,speech,x,"+stat+"\n")
		return reading{socket: socket{"unix", at}, servers: servers, err: err}
	}
	up := "1,5,UP,0,31,L7OK,200,1,,,,"
	down := "2,9,DOWN,0,4,L4CON,,0,,,,"
	failing := "0,-1,UP 1/2,0,4,L7TOUT,,9,,,,"
	for _, c := range []struct {
		name     string
		readings []reading
		want     string
		err      error
	}{
		{"both agree", []reading{shown("/1", "0", up), shown("/2", "0", up)},
			`{"name":"a","address":"10.0.0.1:80","state":"ready","up":true,"check":"L7OK 200 in 1ms, up for 31s","requests":{"requests":2,"oldest":"5s"}}`, nil},
		{"one holds it for down", []reading{shown("/1", "0", down), shown("/2", "0", up)},
			`{"name":"a","address":"10.0.0.1:80","state":"ready","up":true,"check":"L4CON in 0ms, down for 4s; but at /2 L7OK 200 in 1ms, up for 31s","requests":{"requests":3,"oldest":"9s"}}`, nil},
		{"one holds it for down, the other soon", []reading{shown("/1", "0", down), shown("/2", "0", failing)},
			`{"name":"a","address":"10.0.0.1:80","state":"ready","up":true,"failing":true,"check":"L4CON in 0ms, down for 4s; but at /2 L7TOUT in 9ms, still counted as up","requests":{"requests":2,"oldest":"9s"}}`, nil},
		{"for one it fails", []reading{shown("/1", "0", failing), shown("/2", "0", up)},
			`{"name":"a","address":"10.0.0.1:80","state":"ready","up":true,"check":"L7TOUT in 9ms, still counted as up; but at /2 L7OK 200 in 1ms, up for 31s","requests":{"requests":1,"oldest":"5s"}}`, nil},
		{"one drains it", []reading{shown("/1", "0", up), shown("/2", "8", up)},
			`{"name":"a","address":"10.0.0.1:80","state":"ready","up":true,"check":"L7OK 200 in 1ms, up for 31s","requests":{"requests":2,"oldest":"5s"}}`, traffic.ErrDisagree},
		{"one is silent", []reading{{socket: socket{"unix", "/1"}, err: traffic.ErrUnreachable}, shown("/2", "0", up)},
			`{"name":"a","address":"10.0.0.1:80","state":"ready","up":true,"check":"L7OK 200 in 1ms, up for 31s"}`, nil},
		{"one lacks the backend", []reading{{socket: socket{"unix", "/1"}, err: traffic.ErrNoServer}, shown("/2", "0", up)},
			`{"name":"a","address":"10.0.0.1:80","state":"ready","up":true,"check":"L7OK 200 in 1ms, up for 31s"}`, traffic.ErrDisagree},
	} {
		t.Run(c.name, func(t *testing.T) {
			view, err := merge(c.readings)
			if !errors.Is(err, c.err) || (c.err == nil && err != nil) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			if got, _ := json.Marshal(view.Servers[0]); string(got) != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}
