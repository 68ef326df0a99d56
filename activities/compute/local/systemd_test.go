package local

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/compute/computetest"
)

// withSystemd is a world in which systemd-run is a program of the test's: where
// no systemd runs, the real one cannot be asked. It writes down its arguments
// and does what the real one does with these: runs a command in a session of
// its own, with a small environment, once for a unit's name.
func withSystemd(t *testing.T, before string) *world {
	w := newWorld(t)
	w.systemd = t.TempDir()
	w.tool("id", "echo 0") // root alone makes units of the system
	w.tool("systemd-run", `
printf '%s\n' "$*" >>`+quote(filepath.Join(w.tools, "calls"))+`
`+before+`
while :; do
	case $1 in
	--unit=*) mkdir `+quote(w.tools)+`/"unit-${1#--unit=}" || exit 1 ;;
	--setenv=*) mark=${1#--setenv=} ;;
	--*) ;;
	*) break ;;
	esac
	shift
done
env -i "$mark" PATH=/usr/bin:/bin setsid "$@" >/dev/null 2>&1 &`)
	return w
}

func (w *world) calls() []string {
	text, err := os.ReadFile(filepath.Join(w.tools, "calls"))
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// Where systemd runs, the other way of starting is tested beside it.
func TestConformanceWithoutSystemd(t *testing.T) {
	if _, err := os.Stat(systemdDir); err != nil {
		t.Log("no systemd runs here, so all other tests have shown this")
		return
	}
	computetest.Run(t, func(t *testing.T) computetest.Fixture {
		w := newWorld(t)
		w.systemd = "/nowhere"
		return w.fixture()
	})
}

func TestAUnitOfItsOwn(t *testing.T) {
	w := withSystemd(t, "")
	o := w.order("in.unit", "/bin/sh", "-c", "exec sleep 1000000")
	o.Env = map[string]string{"TOKEN": "hush"}
	w.create(o)
	w.create(o)
	w.await(o, compute.Running)
	calls := w.calls()
	if len(calls) != 1 {
		t.Fatalf("calls: %q", calls)
	}
	m := filepath.Join(w.root, "m-in.unit")
	words := strings.SplitN(calls[0], " --setenv=", 2)
	if !strings.HasPrefix(words[0], "--quiet --collect --unit=understudy-in.unit-1-") || words[1] != "UNDERSTUDY_MACHINE="+m+" /bin/sh "+m+"/run 1" {
		t.Errorf("call: %q", calls[0])
	}
}

// A systemd that refuses, or that starts the unit and then loses its answer, is no obstacle.
func TestASystemdThatFails(t *testing.T) {
	for name, before := range map[string]string{
		"refuses":             "echo 'Failed to connect to bus' >&2; exit 1",
		"starts it all twice": `for last; do :; done; env -i UNDERSTUDY_MACHINE="${5#--setenv=UNDERSTUDY_MACHINE=}" PATH=/usr/bin:/bin setsid /bin/sh ` + "\"${5#--setenv=UNDERSTUDY_MACHINE=}/run\"" + ` "$last" >/dev/null 2>&1 & set -- "$@"`,
		"fails late":          `for last; do :; done; for word; do case $word in --setenv=*) m=${word#--setenv=UNDERSTUDY_MACHINE=} ;; esac; done; (sleep 0.1; env -i UNDERSTUDY_MACHINE="$m" PATH=/usr/bin:/bin exec setsid /bin/sh "$m/run" "$last") >/dev/null 2>&1 & exit 1`,
	} {
		t.Run(name, func(t *testing.T) {
			w := withSystemd(t, before)
			o := w.order("fails")
			w.create(o)
			w.await(o, compute.Running)
			w.runs(1)
			if got := w.names("m-fails"); slices.Contains(got, "started-2") {
				t.Errorf("it was started twice: %v", got)
			}
			w.terminate(o)
			if got := w.processes(); len(got) != 0 {
				t.Errorf("processes %v are left", got)
			}
		})
	}
}
