package embedded_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/worker/embedded"
)

// The engine registers its SQL plugin and its logger once per process, and a
// kill must hit a process of its own: the tests start this binary again.
const childDir = "UNDERSTUDY_ENGINE_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		runEngine(dir)
		return
	}
	os.Exit(m.Run())
}

func runEngine(dir string) {
	var opts embedded.Options
	if err := json.Unmarshal([]byte(os.Getenv("UNDERSTUDY_ENGINE_TEST_OPTIONS")), &opts); err != nil {
		panic(err)
	}
	opts.DataDir = dir
	opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	engine, err := embedded.Start(context.Background(), opts)
	if err != nil {
		fmt.Println("FAILED " + strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
	c, err := client.Dial(client.Options{
		HostPort: opts.Address, Namespace: opts.Namespace,
		ConnectionOptions: client.ConnectionOptions{TLS: engine.TLS()},
		Logger:            log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		fmt.Println("FAILED " + err.Error())
		os.Exit(1)
	}
	fmt.Println("READY")
	// Start workflows without end and say so for each that the engine has acknowledged.
	for i := 0; os.Getenv("UNDERSTUDY_ENGINE_TEST_WRITE") != ""; i++ {
		id := fmt.Sprintf("%s-%d", os.Getenv("UNDERSTUDY_ENGINE_TEST_WRITE"), i)
		if _, err := c.ExecuteWorkflow(context.Background(), client.StartWorkflowOptions{ID: id, TaskQueue: "none"}, "Nothing"); err != nil {
			fmt.Println("FAILED " + err.Error())
			os.Exit(1)
		}
		fmt.Println("STARTED " + id)
	}
	for id := range strings.FieldsSeq(os.Getenv("UNDERSTUDY_ENGINE_TEST_CHECK")) {
		if _, err := c.DescribeWorkflowExecution(context.Background(), id, ""); err != nil {
			fmt.Println("LOST " + id + ": " + err.Error())
		}
	}
	ns, err := c.WorkflowService().DescribeNamespace(context.Background(), &workflowservice.DescribeNamespaceRequest{Namespace: opts.Namespace})
	fmt.Println("CHECKED", ns.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration(), err)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	fmt.Println("STOPPED", engine.Stop())
}

func options() embedded.Options {
	return embedded.Options{
		Address: harness.Address(harness.FourPorts()), Namespace: "default",
		SearchAttributes: map[string]enumspb.IndexedValueType{"UnderstudyService": enumspb.INDEXED_VALUE_TYPE_KEYWORD},
	}
}

// child starts an engine in a process of its own and waits until its output holds a word.
func child(t *testing.T, dir string, opts embedded.Options, word string, env ...string) *harness.Process {
	t.Helper()
	text, err := json.Marshal(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	logs := t.TempDir()
	var p *harness.Process
	p, err = harness.Start(ctx, harness.Spec{
		Name: "engine", Path: os.Args[0], Dir: logs,
		Env: append(env, childDir+"="+dir, "UNDERSTUDY_ENGINE_TEST_OPTIONS="+string(text)),
		Ready: func(context.Context) error {
			out, err := os.ReadFile(filepath.Join(logs, "engine.log"))
			if err == nil && !strings.Contains(string(out), word) {
				err = fmt.Errorf("no %s yet", word)
			}
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// refused starts an engine that must not start, and returns what it says.
func refused(t *testing.T, dir string, opts embedded.Options) string {
	t.Helper()
	text, err := json.Marshal(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, "UNDERSTUDY_ENGINE_TEST_OPTIONS="+string(text))
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "FAILED") {
		t.Fatalf("the engine started, %v: %s", err, out)
	}
	return string(out)
}

func TestAStopIsGraceful(t *testing.T) {
	dir := t.TempDir()
	p := child(t, dir, options(), "CHECKED")
	p.Signal(syscall.SIGTERM)
	<-p.Done()
	if out := p.Tail(1000); p.Err() != nil || !strings.Contains(out, "STOPPED <nil>") {
		t.Errorf("%v: %s", p.Err(), out)
	}
	child(t, dir, options(), "CHECKED")
}

func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	dir, opts := t.TempDir(), options()
	var acknowledged []string
	for round := range 2 {
		p := child(t, dir, opts, fmt.Sprintf("STARTED run%d-50\n", round), fmt.Sprintf("UNDERSTUDY_ENGINE_TEST_WRITE=run%d", round))
		p.Kill()
		for line := range strings.Lines(p.Tail(1 << 20)) {
			if id, ok := strings.CutPrefix(line, "STARTED "); ok {
				acknowledged = append(acknowledged, strings.TrimSpace(id))
			}
		}
	}
	if len(acknowledged) < 100 {
		t.Fatalf("only %d workflows were started", len(acknowledged))
	}
	p := child(t, dir, opts, "CHECKED", "UNDERSTUDY_ENGINE_TEST_CHECK="+strings.Join(acknowledged, " "))
	if out := p.Tail(1 << 20); strings.Contains(out, "LOST") || !strings.Contains(out, "CHECKED 8760h0m0s <nil>") {
		t.Errorf("after two kills, of %d acknowledged workflows:\n%s", len(acknowledged), out)
	}
}

func TestOneProcessPerDirectory(t *testing.T) {
	dir := t.TempDir()
	child(t, dir, options(), "READY")
	if out := refused(t, dir, options()); !strings.Contains(out, "is in use by another Understudy") {
		t.Errorf("the second engine said: %s", out)
	}
}

func TestAnotherServerVersionIsRefused(t *testing.T) {
	dir, opts := t.TempDir(), options()
	child(t, dir, opts, "READY").Kill()
	path := filepath.Join(dir, "engine.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, "temporal.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), embedded.ServerVersion, "1.20.0", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := refused(t, dir, opts); !strings.Contains(out, "was written by Temporal server 1.20.0") {
		t.Errorf("the engine said: %s", out)
	}
	after, err := os.ReadFile(filepath.Join(dir, "temporal.db"))
	if err != nil || string(after) != string(before) {
		t.Errorf("the refused file was changed (%v)", err)
	}
}

func TestATakenPortIsNamed(t *testing.T) {
	opts := options()
	opts.UIAddress = harness.Address(harness.FreePort())
	l, err := net.Listen("tcp", opts.UIAddress)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if out := refused(t, t.TempDir(), opts); !strings.Contains(out, opts.UIAddress) || !strings.Contains(out, "listen.ui") {
		t.Errorf("the engine said: %s", out)
	}
}

func TestAnUnfinishedFileIsMadeAnew(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "temporal.db.new"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	child(t, dir, options(), "CHECKED")
}

func TestOnlyTheKeyOpensTheEngine(t *testing.T) {
	dir, opts := t.TempDir(), options()
	opts.UIAddress = harness.Address(harness.FreePort())
	child(t, dir, opts, "READY")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := client.DialContext(ctx, client.Options{HostPort: opts.Address, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))}); err == nil {
		t.Error("a client without the key was let in")
	}
	if info, err := os.Stat(filepath.Join(dir, "tls", "engine.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the engine's key: %v, %v", info, err)
	}
	post, err := http.Post("http://"+opts.UIAddress+"/api/v1/namespaces/default/workflows/x/terminate", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	post.Body.Close()
	if post.StatusCode < 400 {
		t.Errorf("the UI took a write action: %s", post.Status)
	}
	get, err := http.Get("http://" + opts.UIAddress + "/api/v1/namespaces/default")
	if err != nil {
		t.Fatal(err)
	}
	get.Body.Close()
	if get.StatusCode != http.StatusOK {
		t.Errorf("the UI cannot read the engine: %s", get.Status)
	}
}
