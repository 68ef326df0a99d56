package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
)

var hostile = []string{
	"", " ", "-n", "--", "'", `"`, `\`, "`id`", "$(touch /tmp/x)", "${HOME}", "a;b", "a&b|c>d", "*", "~", "line\nline", "tab\t", "\r", "%s%d", "!", "#", "语音", "\xff\xfe", `'"'"'`, "EOF", "end\n", "a'\n'b",
}

func TestHostileTextReachesTheProgram(t *testing.T) { hostileText(t, newWorld(t)) }

// hostileText lets a program write down what it was given, and holds that
// against the order: arguments, variables and directory arrive as they are.
func hostileText(t *testing.T, w *world) {
	dir := filepath.Join(t.TempDir(), "-a 'dir' $(id)\n\"語\" ")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	command := append([]string{"/bin/sh", "-c", `tr '\0' '\n' </dev/null; cat /proc/$$/cmdline >cmdline; cat /proc/$$/environ >environ; mv cmdline done; exec sleep 1000000`}, hostile...)
	o := w.order("hostile", command...)
	o.Provision.Dir = dir
	o.Env = map[string]string{"TOKEN": "hush 'hush'\n$(id)"}
	for i, text := range hostile {
		o.Provision.Env[fmt.Sprintf("V%d", i)] = text
	}
	if err := w.provider().Check(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	w.create(o)
	var cmdline, environ []byte
	w.eventually("the program has written down what it was given", func() (err error) {
		if cmdline, err = os.ReadFile(filepath.Join(dir, "done")); err == nil {
			environ, err = os.ReadFile(filepath.Join(dir, "environ"))
		}
		return err
	})
	if want := strings.Join(command, "\x00") + "\x00"; string(cmdline) != want {
		t.Errorf("arguments:\n%q, want\n%q", cmdline, want)
	}
	variables := strings.Split(string(environ), "\x00")
	for name, value := range o.Provision.Env {
		if !slices.Contains(variables, name+"="+value) {
			t.Errorf("variable %s did not arrive as %q", name, value)
		}
	}
	if !slices.Contains(variables, "TOKEN="+o.Env["TOKEN"]) {
		t.Error("the variable of the order did not arrive")
	}
	m := w.await(o, compute.Running)
	if m.Tags[compute.TagKey] != "hostile" {
		t.Errorf("%+v", m)
	}
	w.terminate(o)
}

// Neither an environment nor anything else of an order stands where every user of the host can read it.
func TestSecretsStandInNoCommandLine(t *testing.T) {
	const secret = "hush-7f3a1c"
	w := newWorld(t)
	o := w.order("secret", "/bin/sh", "-c", `printf %s "$TOKEN" >"$OUT.new"; mv "$OUT.new" "$OUT"; exec sleep 1000000`)
	out := filepath.Join(w.tools, "out")
	o.Env = map[string]string{"TOKEN": secret, "OUT": out}
	stop := make(chan struct{})
	var watch sync.WaitGroup
	seen := map[string]bool{}
	watch.Go(func() {
		for {
			files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, file := range files {
				if line, _ := os.ReadFile(file); bytes.Contains(line, []byte(secret)) {
					seen[string(line)] = true
				}
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	w.create(o)
	w.eventually("the secret has arrived", func() error {
		text, err := os.ReadFile(out)
		if err == nil && string(text) != secret {
			err = fmt.Errorf("it is %q", text)
		}
		return err
	})
	if err := w.provider().Stop(t.Context(), ref(o)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(out); err != nil {
		t.Fatal(err)
	}
	// A renewed secret is no other order.
	renewed := o
	renewed.Env = map[string]string{"TOKEN": "other", "OUT": out}
	w.create(renewed)
	if _, err := w.provider().Start(t.Context(), ref(o)); err != nil {
		t.Fatal(err)
	}
	w.eventually("the secret has arrived again", func() error {
		_, err := os.Stat(out)
		return err
	})
	close(stop)
	watch.Wait()
	for line := range seen {
		t.Errorf("a command line has the secret: %q", line)
	}
	for _, name := range append(w.names("m-secret"), ".") {
		info, err := os.Stat(filepath.Join(w.root, "m-secret", name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others may read %s: %v, %v", name, info.Mode(), err)
		}
	}
	w.terminate(o)
	if left, _ := exec.Command("grep", "-rl", secret, w.root).Output(); len(left) > 0 {
		t.Errorf("after the removal the secret is still in %s", left)
	}
}

// What is in our environment is not for the machine.
func TestOurEnvironmentStaysHere(t *testing.T) {
	t.Setenv("SLACK_TOKEN_OF_OURS", "hush")
	w := newWorld(t)
	out := filepath.Join(w.tools, "out")
	o := w.order("env", "/bin/sh", "-c", `env | cut -d= -f1 | sort >"$OUT.new"; umask >>"$OUT.new"; mv "$OUT.new" "$OUT"; exec sleep 1000000`)
	o.Provision.Env["OUT"] = out
	w.create(o)
	var text []byte
	w.eventually("the program has told", func() (err error) {
		text, err = os.ReadFile(out)
		return err
	})
	want := []string{"HOME", "LANG", "OUT", owner, "PATH", "PWD", "UNDERSTUDY_MACHINE", "0022"}
	got := slices.DeleteFunc(strings.Fields(string(text)), func(name string) bool {
		return name == "OLDPWD" || strings.HasPrefix(name, "SYSTEMD_") || name == "INVOCATION_ID"
	})
	if !slices.Equal(got, want) {
		t.Errorf("the program has %v, want %v", got, want)
	}
}

// A connection that breaks hands over the beginning of a script. It must do nothing.
func TestTheBeginningOfAScriptDoesNothing(t *testing.T) {
	w := newWorld(t)
	p := w.provider()
	var whole string
	p.run = func(_ context.Context, _, script string) (string, error) {
		whole = script
		return "", errors.New("cut")
	}
	_, _ = p.Create(t.Context(), w.order("cut"))
	last := strings.LastIndex(whole, "main")
	if last < 0 || strings.Count(whole, "\nmain") != 2 { // the definition and the call
		t.Fatal("main is not called once")
	}
	for end := 0; end <= last; end += 1 + rand.IntN(2*len(whole)/150) {
		cmd := exec.Command("/bin/sh", "-s")
		cmd.Stdin, cmd.Env, cmd.Dir = strings.NewReader(whole[:end]), shells{}.environ(), w.tools
		output, _ := cmd.Output()
		if strings.Contains(string(output), "understudy-machines") {
			t.Fatalf("the first %d bytes begin an answer: %s", end, output)
		}
		if _, err := os.Stat(w.root); err == nil {
			t.Fatalf("the first %d bytes have made %s", end, w.root)
		}
	}
	if output, err := (shells{}).run(t.Context(), "", whole); err != nil || !strings.Contains(output, "machine running") {
		t.Errorf("all of it does: %s, %v", output, err)
	}
}

func TestVariables(t *testing.T) {
	for _, name := range []string{"", "1A", "A B", "A=B", "A-B", "Ä", "A\n", "UNDERSTUDY_MACHINE"} {
		if text, err := environment(map[string]string{name: "x"}, nil); err == nil {
			t.Errorf("%q is taken: %s", name, text)
		}
	}
	text, err := environment(map[string]string{"A": "runbook", "B": "b"}, map[string]string{"A": "ours"})
	if err != nil || text != "export A='ours'\nexport B='b'\n" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestDigests(t *testing.T) {
	w := &world{root: "/root"}
	base := w.order("k")
	same, err := digestOf(base)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*compute.Order)
		same   bool
	}{
		"nothing":       {func(*compute.Order) {}, true},
		"a secret":      {func(o *compute.Order) { o.Env = map[string]string{"TOKEN": "new"} }, true},
		"the expiry":    {func(o *compute.Order) { o.Expires = o.Expires.Add(time.Hour) }, true},
		"the service":   {func(o *compute.Order) { o.Service = "tts" }, false},
		"the epoch":     {func(o *compute.Order) { o.Epoch++ }, false},
		"the mode":      {func(o *compute.Order) { o.Mode = "drill" }, false},
		"an argument":   {func(o *compute.Order) { o.Provision.Command = []string{"/bin/sleep", "1"} }, false},
		"a variable":    {func(o *compute.Order) { o.Provision.Env = maps.Clone(o.Provision.Env); o.Provision.Env["A"] = "b" }, false},
		"the directory": {func(o *compute.Order) { o.Provision.Dir = "/tmp" }, false},
	} {
		o := base
		c.change(&o)
		if got, err := digestOf(o); err != nil || (got == same) != c.same {
			t.Errorf("%s: the order is the same: %v, %v; want %v", name, got == same, err, c.same)
		}
	}
}
