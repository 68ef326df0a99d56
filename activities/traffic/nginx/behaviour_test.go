package nginx_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/traffic/nginx"
	"github.com/understudy-dr/understudy/activities/traffic/traffictest"
	"github.com/understudy-dr/understudy/runbooks"
)

// nobody listens at these; the tests below look at nginx, not behind it.
var servers = map[string]string{traffictest.Primary: "127.0.0.1:1", traffictest.Hot: "127.0.0.1:2"}

var (
	toHot     = set(to(traffictest.Primary, traffic.Maint), to(traffictest.Hot, traffic.Ready))
	toPrimary = set(to(traffictest.Hot, traffic.Maint), to(traffictest.Primary, traffic.Ready))
)

func set(a ...traffic.Assignment) traffic.Change { return traffic.Change{Set: a} }

func to(server string, state traffic.State) traffic.Assignment {
	return traffic.Assignment{Server: server, State: state}
}

func (d *door) read(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(d.config.File)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (d *door) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(d.config.File, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

// counted makes the balancer's reloads countable.
func (d *door) counted(t *testing.T) func() int {
	log := filepath.Join(d.Dir, "reloads")
	d.config.Reload = append([]string{"/bin/sh", "-c", `echo >>"$0"; exec "$@"`, log}, d.Reload...)
	return func() int {
		text, _ := os.ReadFile(log)
		return len(text)
	}
}

func serving(t *testing.T, b traffic.Balancer, want string) {
	t.Helper()
	v, err := b.View(t.Context())
	if err != nil || !slices.Equal(v.Serving(), []string{want}) {
		t.Errorf("serving %v, %v; want %s", v.Serving(), err, want)
	}
}

func apply(t *testing.T, b traffic.Balancer, c traffic.Change) traffic.View {
	t.Helper()
	v, err := b.Apply(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestACrashBetweenRenameAndReload(t *testing.T) {
	t.Parallel()
	d := open(t, servers, "")
	reloads := d.counted(t)
	b := d.balancer(t)
	apply(t, b, toHot)
	written := d.read(t)
	apply(t, b, toPrimary)
	d.write(t, written)

	v, err := b.View(t.Context())
	if !errors.Is(err, traffic.ErrDisagree) || !slices.Equal(v.Serving(), []string{traffictest.Primary}) {
		t.Errorf("the file is ahead: serving %v, %v; want what nginx runs with, and ErrDisagree", v.Serving(), err)
	}
	apply(t, b, toHot)
	serving(t, b, traffictest.Hot)
	before := reloads()
	apply(t, b, toHot)
	if got := reloads(); before != 3 || got != before {
		t.Errorf("%d reloads, then %d; what nginx runs with needs none", before, got)
	}
}

func TestAConfigurationThatWouldNotLoad(t *testing.T) {
	t.Parallel()
	d := open(t, servers, "")
	b := d.balancer(t)
	before := d.read(t)
	broken := filepath.Join(filepath.Dir(d.config.File), "other.conf")
	if err := os.WriteFile(broken, []byte("nonsense on;\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := b.Apply(t.Context(), toHot)
	if !errors.Is(err, traffic.ErrRefused) || !strings.Contains(err.Error(), `unknown directive "nonsense"`) {
		t.Errorf("apply: %v, want ErrRefused with nginx's reason", err)
	}
	if d.read(t) != before {
		t.Error("the file was not put back")
	}
	serving(t, b, traffictest.Primary)
	entries, _ := os.ReadDir(filepath.Dir(d.config.File))
	if len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	apply(t, b, toHot)
	serving(t, b, traffictest.Hot)
}

func TestANameThatDoesNotResolve(t *testing.T) {
	t.Parallel()
	config := map[string]string{"cold": "no-such-host.invalid:80"}
	for name, address := range servers {
		config[name] = address
	}
	d := open(t, servers, "")
	d.config.Servers = config
	b := d.balancer(t)
	v, err := b.View(t.Context())
	if cold, ok := v.Server("cold"); err != nil || !ok || cold.State != traffic.Maint {
		t.Errorf("a server that nginx does not know yet: %+v, %v", v, err)
	}
	// Another server's switch does not depend on it.
	apply(t, b, set(to(traffictest.Hot, traffic.Ready), to(traffictest.Primary, traffic.Maint), to("cold", traffic.Maint)))
	before := d.read(t)
	if _, err := b.Apply(t.Context(), set(to("cold", traffic.Ready))); !errors.Is(err, traffic.ErrRefused) || d.read(t) != before {
		t.Errorf("apply: %v, want ErrRefused and the old file", err)
	}
	v = apply(t, b, set(traffic.Assignment{Server: "cold", State: traffic.Ready, Address: "127.0.0.1:3"}, to(traffictest.Hot, traffic.Maint)))
	if cold, _ := v.Server("cold"); cold.Address != "127.0.0.1:3" {
		t.Errorf("cold: %+v", cold)
	}
	serving(t, b, "cold")
}

func TestATestThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	d := open(t, servers, "")
	d.config.Test = []string{"/bin/sleep", "600"}
	before := d.read(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := d.balancer(t).Apply(ctx, toHot); !errors.Is(err, traffic.ErrUnreachable) || d.read(t) != before {
		t.Errorf("apply: %v, want ErrUnreachable and the old file", err)
	}
}

func TestAReloadThatFails(t *testing.T) {
	t.Parallel()
	d := open(t, servers, "")
	good := d.config.Reload
	for name, reload := range map[string][]string{"says so": {"/bin/false"}, "says nothing": {"/bin/true"}} {
		d.config.Reload = reload
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := d.balancer(t).Apply(ctx, toHot)
		cancel()
		if !errors.Is(err, traffic.ErrUnreachable) {
			t.Errorf("a reload that fails and %s: %v, want ErrUnreachable", name, err)
		}
		if v, err := d.balancer(t).View(t.Context()); !slices.Equal(v.Serving(), []string{traffictest.Primary}) || !errors.Is(err, traffic.ErrDisagree) {
			t.Errorf("serving %v, %v", v.Serving(), err)
		}
	}
	d.config.Reload = good
	apply(t, d.balancer(t), toHot)
	serving(t, d.balancer(t), traffictest.Hot)
}

func TestAnNginxThatDoesNotTell(t *testing.T) {
	t.Parallel()
	d := open(t, servers, "location ^~ /.understudy/ { return 404; }")
	d.config.Backend = "another"
	b := d.balancer(t)
	before := d.read(t)
	_, viewed := b.View(t.Context())
	_, applied := b.Apply(t.Context(), toHot)
	for _, err := range []error{viewed, applied} {
		if !errors.Is(err, traffic.ErrUnreachable) || !strings.Contains(err.Error(), "location = /.understudy/another") {
			t.Errorf("%v, want ErrUnreachable with what to add", err)
		}
	}
	if d.read(t) != before {
		t.Error("the file was changed though nobody can tell what nginx runs with")
	}
}

func TestTheFileStaysWhatItWas(t *testing.T) {
	t.Parallel()
	d := open(t, servers, "")
	// An administrator may keep the file elsewhere, and read it as another user.
	real := filepath.Join(d.Dir, "real.conf")
	if err := errors.Join(os.Rename(d.config.File, real), os.Symlink(real, d.config.File), os.Chmod(real, 0o604)); err != nil {
		t.Fatal(err)
	}
	apply(t, d.balancer(t), toHot)
	link, err := os.Lstat(d.config.File)
	if err != nil || link.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", link, err)
	}
	if info, err := os.Stat(real); err != nil || info.Mode().Perm() != 0o604 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestABackupStaysABackup(t *testing.T) {
	t.Parallel()
	d := open(t, servers, "")
	b := d.balancer(t)
	text := strings.ReplaceAll(d.read(t), "127.0.0.1:2 max_fails=0 down; # hot maint", "127.0.0.1:2 max_fails=0 backup; # hot ready")
	d.write(t, strings.ReplaceAll(text, "hot 127.0.0.1:2 maint", "hot 127.0.0.1:2 ready backup"))
	d.Kill()
	if err := d.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	v, err := b.View(t.Context())
	if hot, _ := v.Server(traffictest.Hot); err != nil || !hot.Backup || !slices.Equal(v.Serving(), []string{traffictest.Primary}) {
		t.Fatalf("%+v, %v", v, err)
	}
	v = apply(t, b, set(to(traffictest.Primary, traffic.Maint)))
	if hot, _ := v.Server(traffictest.Hot); !hot.Backup || !slices.Equal(v.Serving(), []string{traffictest.Hot}) {
		t.Errorf("%+v", v)
	}
}

func TestAFileThatSomebodyEdited(t *testing.T) {
	t.Parallel()
	d := open(t, servers, "")
	b := d.balancer(t)
	for _, spoil := range []func(text string) string{
		func(text string) string { return strings.Replace(text, "max_fails=0;", "max_fails=0 weight=2;", 1) },
		func(text string) string { return strings.Replace(text, "}", "  keepalive 8;\n}", 1) },
		func(text string) string { return "" },
	} {
		d.write(t, spoil(d.read(t)))
		if v, err := b.View(t.Context()); !errors.Is(err, traffic.ErrDisagree) || !slices.Equal(v.Serving(), []string{traffictest.Primary}) {
			t.Errorf("serving %v, %v; want ErrDisagree", v.Serving(), err)
		}
		apply(t, b, toHot)
		apply(t, b, toPrimary)
		serving(t, b, traffictest.Primary)
	}
	if err := os.Remove(d.config.File); err != nil {
		t.Fatal(err)
	}
	if _, err := b.View(t.Context()); !errors.Is(err, traffic.ErrDisagree) {
		t.Errorf("without the file: %v, want ErrDisagree", err)
	}
	apply(t, b, toHot)
	serving(t, b, traffictest.Hot)
}

func TestARestartKeepsTheStates(t *testing.T) {
	t.Parallel()
	d := open(t, servers, "")
	b := d.balancer(t)
	apply(t, b, toHot)
	d.Kill()
	if err := d.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	serving(t, b, traffictest.Hot)
}

func TestNew(t *testing.T) {
	good := runbooks.Traffic{Backend: "a", File: "/a", Front: "http://a", Servers: servers}
	for name, spoil := range map[string]func(*runbooks.Traffic){
		"a hostile upstream": func(t *runbooks.Traffic) { t.Backend = "a { }" },
		"a relative file":    func(t *runbooks.Traffic) { t.File = "a" },
		"no front door":      func(t *runbooks.Traffic) { t.Front = "" },
		"a hostile server":   func(t *runbooks.Traffic) { t.Servers = map[string]string{"a;": "b:1"} },
		"a hostile address":  func(t *runbooks.Traffic) { t.Servers = map[string]string{"a": "b;:1"} },
	} {
		config := good
		spoil(&config)
		if _, err := nginx.New(config); !errors.Is(err, traffic.ErrRefused) {
			t.Errorf("%s: %v, want ErrRefused", name, err)
		}
	}
	if _, err := nginx.New(good); err != nil {
		t.Error(err)
	}
}
