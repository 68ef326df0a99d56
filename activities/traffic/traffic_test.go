package traffic

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestServing(t *testing.T) {
	up, down := true, false
	for _, c := range []struct {
		name    string
		servers []Server
		want    []string
	}{
		{"nobody", nil, nil},
		{"the one that is ready", []Server{{Name: "a", State: Ready}, {Name: "b", State: Maint}}, []string{"a"}},
		{"not the one that is down", []Server{{Name: "a", State: Ready, Up: &down}, {Name: "b", State: Ready, Up: &up}}, []string{"b"}},
		{"no backup beside a primary", []Server{{Name: "b", State: Ready, Backup: true}, {Name: "a", State: Ready}}, []string{"a"}},
		{"the backup once the primary drains", []Server{{Name: "a", State: Drain}, {Name: "b", State: Ready, Backup: true}}, []string{"b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := (View{Servers: c.servers}).Serving(); !slices.Equal(got, c.want) {
				t.Errorf("serving %v, want %v", got, c.want)
			}
		})
	}
}

func TestShows(t *testing.T) {
	v := View{Servers: []Server{
		{Name: "a", State: Ready, Address: "[::1]:80"}, {Name: "b", State: Maint, Address: "10.0.0.1:80"},
		{Name: "d", State: Ready, Address: "gpu.example.com:443", DNS: true}, {Name: "e", State: Maint, Address: "[2001:db8::1]:443", DNS: true},
	}}
	for _, c := range []struct {
		name  string
		set   []Assignment
		wrong string
	}{
		{"what holds", []Assignment{{Server: "a", State: Ready}, {Server: "b", State: Maint}}, ""},
		{"an address in another spelling", []Assignment{{Server: "a", State: Ready, Address: "[0:0::1]:80"}}, ""},
		{"another state", []Assignment{{Server: "a", State: Maint}}, "a is ready, not maint"},
		{"another address", []Assignment{{Server: "b", State: Maint, Address: "10.0.0.2:80"}}, "b is at 10.0.0.1:80, not at 10.0.0.2:80"},
		{"an unknown server", []Assignment{{Server: "c", State: Maint}}, "no such server"},
		{"a name at another port", []Assignment{{Server: "d", State: Ready, Address: "GPU.example.com.:7860"}}, ""},
		{"a name at another host", []Assignment{{Server: "d", State: Ready, Address: "gpu2.example.com:443"}}, "d is at gpu.example.com:443, not at gpu2.example.com:443"},
		{"an address for a name", []Assignment{{Server: "d", State: Ready, Address: "10.0.0.1:443"}}, "not at 10.0.0.1:443"},
		{"a name drained", []Assignment{{Server: "e", State: Drain}}, ""},
		{"a name ready", []Assignment{{Server: "e", State: Ready}}, "e is maint, not ready"},
		{"a server drained", []Assignment{{Server: "b", State: Drain}}, "b is maint, not drain"},
		{"a name's address in another spelling", []Assignment{{Server: "e", State: Maint, Address: "[2001:db8:0::1]:7860"}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := v.Shows(Change{Set: c.set})
			if (err == nil) != (c.wrong == "") || (err != nil && !strings.Contains(err.Error(), c.wrong)) {
				t.Errorf("shows: %v, want %q", err, c.wrong)
			}
		})
	}
}

func TestInOrderPutsServersOnTheTrafficFirst(t *testing.T) {
	c := Change{Set: []Assignment{{Server: "a", State: Maint}, {Server: "b", State: Ready}, {Server: "c", State: Drain}, {Server: "d", State: Ready}}}
	var got []string
	for _, a := range c.InOrder() {
		got = append(got, a.Server)
	}
	if want := []string{"b", "d", "a", "c"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if c.Set[0].Server != "a" {
		t.Error("the change itself was sorted")
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name  string
		set   []Assignment
		wrong bool
	}{
		{"nothing at all", nil, false},
		{"names as HAProxy allows them", []Assignment{{Server: "gpu-a.1:x_y", State: Ready}}, false},
		{"an IPv4 address", []Assignment{{Server: "a", State: Ready, Address: "10.0.0.1:7860"}}, false},
		{"an IPv6 address", []Assignment{{Server: "a", State: Ready, Address: "[2001:db8::1]:7860"}}, false},
		{"a host name", []Assignment{{Server: "a", State: Ready, Address: "gpu-b.example.com:7860"}}, false},
		{"no name", []Assignment{{State: Ready}}, true},
		{"a second command", []Assignment{{Server: "a;shutdown", State: Ready}}, true},
		{"a second line", []Assignment{{Server: "a\nb", State: Ready}}, true},
		{"a final newline", []Assignment{{Server: "a\n", State: Ready}}, true},
		{"a path", []Assignment{{Server: "../a", State: Ready}}, true},
		{"an option", []Assignment{{Server: "-a", State: Ready}}, true},
		{"a variable", []Assignment{{Server: "$a", State: Ready}}, true},
		{"a long name", []Assignment{{Server: strings.Repeat("a", 129), State: Ready}}, true},
		{"no state", []Assignment{{Server: "a"}}, true},
		{"another state", []Assignment{{Server: "a", State: "ready;"}}, true},
		{"no port", []Assignment{{Server: "a", State: Ready, Address: "10.0.0.1"}}, true},
		{"port zero", []Assignment{{Server: "a", State: Ready, Address: "10.0.0.1:0"}}, true},
		{"a signed port", []Assignment{{Server: "a", State: Ready, Address: "10.0.0.1:+80"}}, true},
		{"a port and a command", []Assignment{{Server: "a", State: Ready, Address: "10.0.0.1:80;"}}, true},
		{"a host with a space", []Assignment{{Server: "a", State: Ready, Address: "10.0.0.1 x:80"}}, true},
		{"a host with a newline", []Assignment{{Server: "a", State: Ready, Address: "10.0.0.1\n:80"}}, true},
		{"a zone", []Assignment{{Server: "a", State: Ready, Address: "[fe80::1%eth0;]:80"}}, true},
		{"a socket path", []Assignment{{Server: "a", State: Ready, Address: "unix:/run/x.sock"}}, true},
		{"one server twice", []Assignment{{Server: "a", State: Ready}, {Server: "a", State: Maint}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Change{Set: c.set}.Validate()
			if (err != nil) != c.wrong {
				t.Fatalf("validate: %v", err)
			}
			if err != nil && !errors.Is(err, ErrRefused) {
				t.Errorf("%v is no ErrRefused", err)
			}
		})
	}
}
