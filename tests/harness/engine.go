package harness

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
)

const (
	enginePackage = "github.com/understudy-dr/understudy/tests/engine"
	// EngineName is what the engine's certificate is made out to, see worker/embedded.
	EngineName = "understudy.engine"
	// EngineNamespace is the one that the engine makes.
	EngineNamespace = "default"
)

// EngineServer is the Temporal server that Understudy carries, in a process of
// its own. Signal, Kill and Stop come from its process.
type EngineServer struct {
	*Process
	Keys EngineKeys
}

// EngineKeys are the way into an engine: its address, and the files of the one
// certificate that both sides show.
type EngineKeys struct{ Address, Cert, Key string }

func engineKeys(address, data string) EngineKeys {
	return EngineKeys{address, filepath.Join(data, "tls", "engine.crt"), filepath.Join(data, "tls", "engine.key")}
}

var engine struct {
	sync.Mutex
	program string
}

// BuildEngine builds the program of the engine, once in a process, and returns its path.
func BuildEngine(ctx context.Context) (string, error) {
	engine.Lock()
	defer engine.Unlock()
	if engine.program != "" {
		return engine.program, nil
	}
	var program string
	err := alone(func(dir string) error {
		program = filepath.Join(dir, "engine")
		return quietly(exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", program, enginePackage))
	})
	if err != nil {
		return "", fmt.Errorf("build the engine: %w", err)
	}
	engine.program = program
	return program, nil
}

// Engine starts an engine that keeps its data in dir, and waits until it answers.
func Engine(ctx context.Context, dir string) (*EngineServer, error) {
	program, err := BuildEngine(ctx)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "engine-data")
	e := &EngineServer{Keys: engineKeys(Address(FourPorts()), data)}
	e.Process, err = Start(ctx, Spec{
		Name: "engine", Path: program, Dir: dir, Args: []string{"--data", data, "--address", e.Keys.Address}, Ready: Listening(e.Keys.Address),
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Restart starts the engine again after Kill or Stop, on the same data, at the
// same address.
func (e *EngineServer) Restart(ctx context.Context) error {
	process, err := Start(ctx, e.Spec)
	if err != nil {
		return err
	}
	e.Process = process
	return nil
}

// Env names the engine to Understudy as a cluster, in Temporal's standard variables.
func (k EngineKeys) Env() []string {
	return []string{
		"TEMPORAL_ADDRESS=" + k.Address, "TEMPORAL_NAMESPACE=" + EngineNamespace, "TEMPORAL_TLS=true", "TEMPORAL_TLS_SERVER_NAME=" + EngineName,
		"TEMPORAL_TLS_CLIENT_CERT_PATH=" + k.Cert, "TEMPORAL_TLS_CLIENT_KEY_PATH=" + k.Key, "TEMPORAL_TLS_SERVER_CA_CERT_PATH=" + k.Cert,
	}
}

// Keys are the way into the engine that this Understudy carries.
func (u *Understudy) Keys() EngineKeys {
	return engineKeys(u.Options.Site.Listen.Temporal, filepath.Join(u.Options.Site.DataDir, "engine"))
}
