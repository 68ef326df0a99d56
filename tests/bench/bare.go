package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/understudy-dr/understudy/tests/harness"
)

//go:embed bare.sh
var bareScript []byte

// executor is the bare loop: like prometheus-am-executor it runs a script for
// each webhook. It answers when the script has ended.
type executor struct {
	server *http.Server
	url    string
	script string
	// arguments of the script, by service.
	arguments map[string][]string
}

func startExecutor(dir string, arguments map[string][]string) (*executor, error) {
	for _, program := range []string{"curl", "socat"} {
		if _, err := harness.Find(program, program); err != nil {
			return nil, err
		}
	}
	e := &executor{script: filepath.Join(dir, "bare.sh"), arguments: arguments}
	if err := os.WriteFile(e.script, bareScript, 0o755); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", harness.Address(harness.FreePort()))
	if err != nil {
		return nil, err
	}
	e.server, e.url = &http.Server{Handler: e}, "http://"+l.Addr().String()
	go func() { _ = e.server.Serve(l) }() // it ends with its closing
	return e, nil
}

func (e *executor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var hook webhook
	if err := json.NewDecoder(r.Body).Decode(&hook); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, a := range hook.Alerts {
		if out, err := exec.Command(e.script, e.arguments[a.Labels["service"]]...).CombinedOutput(); err != nil {
			http.Error(w, fmt.Sprintf("%v: %s", err, out), http.StatusInternalServerError)
			return
		}
	}
}
