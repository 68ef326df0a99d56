package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

// island is a network namespace of its own with one cable to this one.
type island struct {
	name, cable string
	// here is the address of our end of the cable, as seen from there.
	here string
}

// newIsland makes one. It takes root: this is no test to be left out silently.
func newIsland(t *testing.T) *island {
	t.Helper()
	port := harness.FreePort()
	i := &island{name: fmt.Sprintf("understudy-%d", port), cable: fmt.Sprintf("us%d", port)}
	net4 := fmt.Sprintf("198.18.%d.", port>>6&255) // RFC 2544: for tests between devices, and nobody else
	first := port & 63 << 2
	i.here = fmt.Sprintf("%s%d", net4, first+1)
	t.Cleanup(func() {
		_ = exec.Command("ip", "link", "del", i.cable).Run()
		_ = exec.Command("ip", "netns", "del", i.name).Run()
	})
	for _, command := range []string{
		"netns add " + i.name, "link add " + i.cable + " type veth peer name eth0 netns " + i.name,
		fmt.Sprintf("addr add %s/30 dev %s", i.here, i.cable), "link set " + i.cable + " up",
		"-n " + i.name + " link set lo up", fmt.Sprintf("-n %s addr add %s%d/30 dev eth0", i.name, net4, first+2), "-n " + i.name + " link set eth0 up",
	} {
		i.ip(t, command)
	}
	return i
}

func (i *island) ip(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
		t.Fatalf("no network namespace can be had here (ip %s: %v: %s); run this test as root, with iproute2 installed, where namespaces are allowed", command, err, out)
	}
}

// cut pulls the cable, and mend puts it back.
func (i *island) cut(t *testing.T)  { i.ip(t, "link set "+i.cable+" down") }
func (i *island) mend(t *testing.T) { i.ip(t, "link set "+i.cable+" up") }

// dial connects to an address as a process in the namespace does.
func (i *island) dial(address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		ns, err := os.Open("/run/netns/" + i.name)
		if err == nil {
			defer ns.Close()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err != nil {
			done <- result{nil, err}
			return
		}
		conn, err := net.DialTimeout("tcp", address, 5*time.Second)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

// pipe passes on what comes in at an address.
func pipe(t *testing.T, listen string, dial func() (net.Conn, error)) {
	t.Helper()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := dial()
				if err != nil {
					return
				}
				defer out.Close()
				go func() { _, _ = io.Copy(out, in); out.Close() }()
				_, _ = io.Copy(in, out)
			}()
		}
	}()
}

// Understudy's own cable is pulled. From where it stands everything has ended:
// service, standby, load balancer, witness, chat, and the signs of life of the
// site. Neither its heartbeat nor its watchdog, and not even an alert that is
// raised on its side, moves anything. When the cable is back, people are told.
func TestUnderstudyIsCutOff(t *testing.T) {
	abreast(t)
	i := newIsland(t)
	command := harness.FreePort()
	s := setScene(t, harness.SceneOptions{Held: true, Without: true, CommandPort: command})
	office := witnessing(t, s.Dir, "http://"+i.here+s.Primary.URL[strings.LastIndex(s.Primary.URL, ":"):])
	there := func(url string) string { // our address as seen from the island, with a way from it to the real one
		_, at, ok := strings.Cut(strings.TrimSuffix(url, "/api/"), "://")
		if !ok {
			at = url
		}
		_, port, err := net.SplitHostPort(at)
		if err != nil {
			t.Fatal(err)
		}
		pipe(t, net.JoinHostPort(i.here, port), func() (net.Conn, error) { return net.Dial("tcp", at) })
		return strings.Replace(url, at, net.JoinHostPort(i.here, port), 1)
	}
	api := harness.Address(harness.FreePort())
	s.Edit(func(r *runbooks.Runbook, site *runbooks.Site) {
		site.Listen.API = api
		r.Primary.URL, r.Primary.Site, r.Tiers[0].URL = there(s.Primary.URL), "dc-a", there(s.Hot.URL)
		r.Traffic.Sockets, r.Traffic.Front = []string{there(harness.Address(command))}, there(s.Front)
		// A connection that was begun while the cable was pulled is tried again by the kernel after a second; the answer to
		// it would be slow, which is another finding.
		r.Health.Timeout = runbooks.Duration(1500 * time.Millisecond)
		r.Heartbeat = &runbooks.Heartbeat{Interval: r.Health.Timeout, Failures: 2}
		site.Chat.Slack.APIURL = there(s.Slack.URL)
		office.URL = there(office.URL)
		site.Witnesses = []runbooks.Witness{office}
		site.Sites = []runbooks.SiteGroup{{Name: "dc-a", Watchdog: &runbooks.Watchdog{
			Match: map[string]string{"alertname": "Watchdog", "site": "dc-a"}, Silence: runbooks.Duration(3 * time.Second), Action: "recover",
		}}}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.StartUnderstudy(ctx); err != nil {
		t.Fatal(err)
	}
	// It was started here, which has written its files; it lives there.
	s.Understudy.Kill()
	pipe(t, api, func() (net.Conn, error) { return i.dial(api) })
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Fatal(err)
	}
	s.Understudy.Spec.Args = append([]string{"netns", "exec", i.name, s.Understudy.Spec.Path}, s.Understudy.Spec.Args...)
	s.Understudy.Spec.Path = ip
	if err := s.Understudy.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	guard(t, s.Understudy, atRest)
	beats := func(t *testing.T, finding string) {
		t.Helper()
		eventually(t, func(context.Context) error {
			if seen := metric(t, s, `understudy_heartbeat_probes_total{finding="`+finding+`"}`); seen == "" {
				return fmt.Errorf("no heartbeat has found that it %s:\n%s", finding, metric(t, s, "understudy_heartbeat"))
			}
			return nil
		})
	}
	beats(t, string(runbooks.Answers))
	if code := post(t, s.Understudy.URL+"/api/v1/alerts", []byte(`{"version":"4","status":"firing","alerts":[{"status":"firing","fingerprint":"w","labels":{"alertname":"Watchdog","site":"dc-a"}}]}`)); code != http.StatusOK {
		t.Fatalf("a sign of life is answered with %d", code)
	}
	before := balancer(t, s)

	i.cut(t)
	beats(t, string(runbooks.Unreachable))
	alert(t, s.Understudy, "firing", time.Now())
	r := meanwhile(t, s.Understudy, func(r workflows.Report) bool {
		return strings.Contains(step(r, runbooks.StepDiagnose, workflows.InProgress).Reason, string(runbooks.Unknown))
	})
	t.Logf("it waits: %s", step(r, runbooks.StepDiagnose, workflows.InProgress).Reason)
	eventually(t, func(context.Context) error {
		if !strings.Contains(s.Understudy.Tail(1<<20), "a site is silent") {
			return fmt.Errorf("the silence of the site was not heard")
		}
		return nil
	})
	if now := balancer(t, s); now != before {
		t.Errorf("HAProxy was\n%s\nand is\n%s", before, now)
	}
	call(t, s.Front, 5*time.Second).answers(t, 3)

	i.mend(t)
	// What it waited for may be over before chat can be reached again; the last state is told in any case.
	eventually(t, func(context.Context) error {
		if told := s.Slack.Transcript(); !strings.Contains(told, "fun-asr: ") || !strings.Contains(told, "dc-a") {
			return fmt.Errorf("people were told:\n%s", told)
		}
		return nil
	})
	r = ended(t, s.Understudy, 1)
	if r.Verdict == string(runbooks.Dead) || r.Verdict == string(runbooks.Hung) || r.Outcome != workflows.OutcomeSelf && r.Outcome != workflows.OutcomeFalseAlarm || r.Active != runbooks.PrimaryName {
		t.Errorf("%s, on %s: %s", r.Outcome, r.Active, r.Markdown())
	}
	unchanged(t, s, before)
	if seen := stats(t, s.Hot); seen.Requests[heard] != 0 {
		t.Errorf("the standby had work: %+v", seen)
	}
	t.Logf("people were told:\n%s", s.Slack.Transcript())
}
