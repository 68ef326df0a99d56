package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/compute/computetest"
	"github.com/understudy-dr/understudy/tests/harness"
)

// remote is an sshd of the tests' own, with what a client needs to reach it.
type remote struct {
	dir, address string
	tools        string
	// config is ssh's: host asr-host is reached, the others fail in their ways.
	config string
}

// startSSH starts a real sshd on loopback, with keys of its own.
func startSSH(t *testing.T) *remote {
	for _, program := range []string{"sshd", "ssh", "ssh-keygen"} {
		if _, err := harness.Find(program, "openssh-server"); err != nil {
			t.Skipf("missing: %v", err)
		}
	}
	sshd, _ := harness.Find("sshd", "openssh-server")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if me.Uid == "0" {
		// Its package makes this directory when the service starts, which never happened here.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	port := harness.FreePort()
	r := &remote{dir: t.TempDir(), tools: t.TempDir(), address: harness.Address(port)}
	for _, key := range []string{"host", "client", "stranger"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", filepath.Join(r.dir, key)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
	}
	public := func(key string) string {
		text, err := os.ReadFile(filepath.Join(r.dir, key+".pub"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	r.write(t, "authorized_keys", public("client"))
	r.write(t, "known_hosts", fmt.Sprintf("[127.0.0.1]:%d %s", port, public("host")))
	r.write(t, "known_wrong", fmt.Sprintf("[127.0.0.1]:%d %s", port, public("stranger")))
	r.write(t, "sshd_config", fmt.Sprintf(`
ListenAddress %[1]s
HostKey %[2]s/host
AuthorizedKeysFile %[2]s/authorized_keys
PidFile none
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
MaxSessions 100
SetEnv HOME=%[2]s PATH=%[3]s:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
`, r.address, r.dir, r.tools))
	host := func(name, key, known, port string) string {
		return fmt.Sprintf("Host %s\nHostName 127.0.0.1\nPort %s\nUser %s\nIdentitiesOnly yes\nIdentityFile %s/%s\nUserKnownHostsFile %[4]s/%[6]s\nStrictHostKeyChecking yes\n", name, port, me.Username, r.dir, key, known)
	}
	r.config = r.write(t, "ssh_config", host("asr-host", "client", "known_hosts", fmt.Sprint(port))+
		host("asr-shared", "client", "known_hosts", fmt.Sprint(port))+"ControlPath "+filepath.Join(r.dir, "shared")+"\n"+
		host("denied", "stranger", "known_hosts", fmt.Sprint(port))+
		host("impostor", "client", "known_wrong", fmt.Sprint(port))+
		host("away", "client", "known_hosts", fmt.Sprint(harness.FreePort())))
	process, err := harness.Start(t.Context(), harness.Spec{
		Name: "sshd", Path: sshd, Args: []string{"-D", "-e", "-f", filepath.Join(r.dir, "sshd_config")}, Dir: r.dir, Ready: harness.Listening(r.address),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(process.Kill)
	return r
}

func (r *remote) write(t *testing.T, name, text string) string {
	file := filepath.Join(r.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// share opens one connection for all calls to asr-shared, as people do where each costs time.
func (r *remote) share(t *testing.T) {
	ssh, _ := harness.Find("ssh", "openssh-client")
	process, err := harness.Start(t.Context(), harness.Spec{
		Name: "ssh", Path: ssh, Args: []string{"-F", r.config, "-M", "-N", "asr-shared"}, Dir: r.dir,
		Ready: func(ctx context.Context) error {
			return exec.CommandContext(ctx, ssh, "-F", r.config, "-O", "check", "asr-shared").Run()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(process.Kill)
}

// world is one whose machines are made by ssh.
func (r *remote) world(t *testing.T, host string) *world {
	w := newWorld(t)
	w.host, w.ssh = host, []string{"ssh", "-F", r.config}
	return w
}

func TestConformanceOverSSH(t *testing.T) {
	r := startSSH(t)
	smi, err := os.ReadFile(filepath.Join(newWorld(t).tools, "nvidia-smi"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.tools, "nvidia-smi"), smi, 0o755); err != nil {
		t.Fatal(err)
	}
	r.share(t)
	t.Run("suite", func(t *testing.T) {
		computetest.Run(t, func(t *testing.T) computetest.Fixture { return r.world(t, "asr-shared").fixture() })
	})
}

func TestHostileTextReachesTheProgramOverSSH(t *testing.T) {
	hostileText(t, startSSH(t).world(t, "asr-host"))
}

// What a login prints is no part of an answer.
func TestALoginThatPrints(t *testing.T) {
	w := newWorld(t)
	w.tool("noisy-ssh", `for host; do :; done; echo "error refused Welcome!"; echo end; echo understudy-machines 2; echo "oh dear" >&2; exec sh -s`)
	w.host, w.ssh = "anywhere", []string{filepath.Join(w.tools, "noisy-ssh")}
	o := w.order("noisy")
	if _, err := w.provider().Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	w.await(o, compute.Running)
}

// Options of ours never take the place of a host, and the host never that of an option.
func TestWhatSSHIsAskedToDo(t *testing.T) {
	w := newWorld(t)
	w.tool("fake-ssh", `printf '%s\n' "$@" >`+quote(filepath.Join(w.tools, "arguments"))+`; exec sh -s`)
	w.host, w.ssh = "user@gpu-a", []string{filepath.Join(w.tools, "fake-ssh"), "-p", "2222"}
	o := w.order("asked", "/bin/sleep", "1000000")
	o.Env = map[string]string{"TOKEN": "hush-hush"}
	m, err := w.provider().Create(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if m.Address != "gpu-a" || m.Where != "host user@gpu-a" {
		t.Errorf("the machine is %+v", m)
	}
	text, err := os.ReadFile(filepath.Join(w.tools, "arguments"))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if want := slices.Concat([]string{"-p", "2222"}, sshOptions, []string{"--", "user@gpu-a", "exec /bin/sh -s"}); !slices.Equal(got, want) {
		t.Errorf("ssh is called with %q,\nwant %q", got, want)
	}
}

func TestHostsThatCannotBeReached(t *testing.T) {
	r := startSSH(t)
	for host, want := range map[string]struct{ check, create error }{
		"denied":   {compute.ErrCredentials, compute.ErrCredentials},
		"impostor": {compute.ErrCredentials, compute.ErrCredentials},
		"away":     {compute.ErrCapacity, nil}, // an earlier call may have made the machine
	} {
		w := r.world(t, host)
		o := w.order("far")
		if err := w.provider().Check(t.Context(), o); err == nil || !is(err, want.check) || !strings.Contains(err.Error(), host) {
			t.Errorf("check of host %s: %v", host, err)
		}
		if _, err := w.provider().Create(t.Context(), o); err == nil || !is(err, want.create) {
			t.Errorf("create on host %s: %v", host, err)
		}
	}
}

// A host that takes the connection and then says nothing holds up nobody.
func TestAHostThatHangs(t *testing.T) {
	w := newWorld(t)
	w.tool("hanging-ssh", `sleep 1000000 & echo $! >`+quote(filepath.Join(w.tools, "pid"))+`; wait`)
	w.host, w.ssh = "gpu-a", []string{filepath.Join(w.tools, "hanging-ssh")}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := w.provider().Create(ctx, w.order("hang"))
	if err == nil || certain(err) {
		t.Errorf("create: %v", err)
	}
	w.eventually("what ssh has started is gone", func() error {
		pid, err := os.ReadFile(filepath.Join(w.tools, "pid"))
		if err != nil {
			return nil //nolint:nilerr // it never came that far
		}
		if line, _ := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(pid)), "cmdline")); len(line) > 0 {
			return fmt.Errorf("process %s lives", pid)
		}
		return nil
	})
}
