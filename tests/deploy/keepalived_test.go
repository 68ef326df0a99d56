package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/traffic/command"
	"github.com/understudy-dr/understudy/activities/traffic/traffictest"
	"github.com/understudy-dr/understudy/runbooks"
)

// vrrp plays keepalived on several hosts: it reads their track files, elects as
// VRRP with nopreempt does, and tells each host's script about it.
type vrrp struct {
	dir, script string
	names       []string

	mu     sync.Mutex
	state  map[string]string
	silent map[string]bool
}

// startVRRP makes a directory for each host, in the order of their priorities;
// only the first may hold the address.
func startVRRP(t *testing.T, names ...string) *vrrp {
	k := &vrrp{dir: t.TempDir(), script: shipped(t, "keepalived/understudy-vip"), names: names, state: map[string]string{}, silent: map[string]bool{}}
	for i, name := range names {
		dir := filepath.Join(k.dir, name)
		track := "1\n"
		if i == 0 {
			track = "0\n"
		}
		if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "track"), []byte(track), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	// What ssh does: reach a host, run its script, or hang where it is silent.
	via := fmt.Sprintf("#!/bin/sh\n[ ! -e %[1]s/gone ] || exit 255\n[ ! -e %[1]s/$1/silent ] || exec sleep 600\nUNDERSTUDY_VIP_DIR=%[1]s/$1 UNDERSTUDY_VIP_PIDFILE=%[1]s/pid SSH_ORIGINAL_COMMAND=$2 exec %[2]s\n",
		k.dir, k.script)
	err := errors.Join(
		os.WriteFile(filepath.Join(k.dir, "via"), []byte(via), 0o755),
		os.WriteFile(filepath.Join(k.dir, "pid"), fmt.Appendln(nil, os.Getpid()), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.elect(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		var err error
		for ctx.Err() == nil && err == nil {
			err = k.elect(ctx)
			time.Sleep(10 * time.Millisecond)
		}
		if ctx.Err() != nil {
			err = nil
		}
		ended <- err
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return k
}

// elect decides who holds the address and tells those for whom something changed.
func (k *vrrp) elect(ctx context.Context) error {
	master, next := "", map[string]string{}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range k.names {
		track, err := os.ReadFile(filepath.Join(k.dir, name, "track"))
		if err != nil {
			return err
		}
		next[name] = "BACKUP"
		switch {
		case strings.TrimSpace(string(track)) != "0" || k.silent[name]:
			next[name] = "FAULT"
		case k.state[name] == "MASTER" || master == "":
			if k.state[name] == "MASTER" && master != "" {
				next[master] = "BACKUP"
			}
			master, next[name] = name, "MASTER"
		}
	}
	for _, name := range k.names {
		if next[name] == k.state[name] || k.silent[name] {
			continue
		}
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `UNDERSTUDY_VIP_DIR=$0 exec "$1" notified INSTANCE speech "$2" 100`,
			filepath.Join(k.dir, name), k.script, next[name])
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	}
	k.state = next
	return nil
}

// holder is the host that the address leads to.
func (k *vrrp) holder() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, state := range k.state {
		if state == "MASTER" {
			return name
		}
	}
	return ""
}

// hush makes a host silent, as one without power is, or lets it come back: its
// keepalived then starts anew, before anybody can log in.
func (k *vrrp) hush(t *testing.T, name string, silent bool) {
	t.Helper()
	k.mu.Lock()
	k.silent[name] = silent
	k.mu.Unlock()
	path := filepath.Join(k.dir, name, "silent")
	var err error
	if silent {
		err = os.WriteFile(path, nil, 0o644)
	} else {
		err = errors.Join(k.elect(t.Context()), os.Remove(path))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// balancer drives the script of deploy/keepalived.
func (k *vrrp) balancer(t *testing.T, servers map[string]string) traffic.Balancer {
	t.Helper()
	lines := []string{"# a comment", "via " + filepath.Join(k.dir, "via")}
	for _, name := range k.names {
		lines = append(lines, fmt.Sprintf("server %s %s", name, name))
	}
	config := filepath.Join(k.dir, "servers.conf")
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b, err := command.New(runbooks.Traffic{Command: []string{shipped(t, "keepalived/understudy-keepalived"), config}, Servers: servers})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestKeepalivedConformance(t *testing.T) {
	t.Parallel()
	needs(t, "jq", "jq")
	traffictest.Run(t, func(t *testing.T, servers map[string]string) traffictest.Fixture {
		k := startVRRP(t, traffictest.Primary, traffictest.Hot, traffictest.Cold)
		return traffictest.Fixture{
			Balancer: k.balancer(t, servers),
			Front:    door(t, func() string { return servers[k.holder()] }),
			Break: func() {
				if err := os.WriteFile(filepath.Join(k.dir, "gone"), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			},
			Freeze: func() {
				for _, name := range k.names {
					k.hush(t, name, true)
				}
			},
		}
	})
}

func TestKeepalivedWithADeadHost(t *testing.T) {
	t.Parallel()
	needs(t, "jq", "jq")
	servers := map[string]string{traffictest.Primary: "127.0.0.1:1", traffictest.Hot: "127.0.0.1:2"}
	k := startVRRP(t, traffictest.Primary, traffictest.Hot)
	b := k.balancer(t, servers)
	if _, err := b.Apply(t.Context(), traffic.Change{Set: []traffic.Assignment{{Server: traffictest.Hot, State: traffic.Ready}}}); err != nil {
		t.Fatal(err)
	}
	v, err := b.View(t.Context())
	if hot, _ := v.Server(traffictest.Hot); err != nil || !hot.Backup || !slices.Equal(v.Serving(), []string{traffictest.Primary}) {
		t.Errorf("in good times: %+v, %v", v.Servers, err)
	}
	k.hush(t, traffictest.Primary, true)
	v, err = b.Apply(t.Context(), toHot)
	if primary, _ := v.Server(traffictest.Primary); err != nil || !strings.Contains(primary.Check, "does not answer") || !slices.Equal(v.Serving(), []string{traffictest.Hot}) {
		t.Errorf("with a dead primary: %+v, %v", v.Servers, err)
	}
	// It comes back: the address stays where it is, its real state shows, and the change can be made good.
	k.hush(t, traffictest.Primary, false)
	if v, err = b.View(t.Context()); err != nil || v.Shows(toHot) == nil || !slices.Equal(v.Serving(), []string{traffictest.Hot}) {
		t.Errorf("with a primary that is back: %+v, %v", v.Servers, err)
	}
	if _, err = b.Apply(t.Context(), toHot); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(filepath.Join(k.dir, traffictest.Primary, "track")); err != nil || string(text) != "1\n" {
		t.Errorf("its track file has %q, %v", text, err)
	}
	// Where the one that holds the address falls silent and nobody else may, nothing is known.
	k.hush(t, traffictest.Hot, true)
	if _, err = b.View(t.Context()); !errors.Is(err, traffic.ErrUnreachable) {
		t.Errorf("view: %v, want ErrUnreachable", err)
	}
}
