package local

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
)

//go:embed machine.sh
var machineScript string

//go:embed run.sh
var runScript string

// script is one call: the variables that stand before the text of machine.sh.
type script map[string]string

// variables that every call has, or the script would stop at an unknown one.
var variables = []string{"VERB", "ROOT", "KEY", "RECORD", "DIGEST", "ENVIRON", "COMMAND", "PROGRAM", "DIR", "PORTS", "DISK", "GPU", "GRACE", "RUN", "SYSTEMD"}

var (
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	hostName     = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9][A-Za-z0-9._:-]*$`)
)

// text is the whole script, for the standard input of sh. Everything of the call
// is in it and nothing in arguments, which every user of a host can read.
func (s script) text() (string, error) {
	var b strings.Builder
	for _, name := range variables {
		if strings.ContainsRune(s[name], 0) {
			return "", fmt.Errorf("%w: a character of number zero stands in the order; no program could be given it", compute.ErrRefused)
		}
		b.WriteString(name + "=" + quote(s[name]) + "\n")
	}
	b.WriteString(machineScript)
	return b.String(), nil
}

// quote makes one word of the shell out of a text.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// order makes the call for an order.
func (p *Provider) order(verb string, o compute.Order) (script, error) {
	if err := compute.CheckKey(o.Key); err != nil {
		return nil, err
	}
	provision := o.Provision
	if provision.Kind != "local" {
		return nil, fmt.Errorf("%w: a machine of kind %s is no process on a host", compute.ErrRefused, provision.Kind)
	}
	if len(provision.Command) == 0 || provision.Command[0] == "" {
		return nil, fmt.Errorf("%w: the provision has no command", compute.ErrRefused)
	}
	m := compute.Machine{ID: o.Key, Key: o.Key, Address: provision.Address, Where: where(provision), Tags: o.Tags(), Made: time.Now().UTC(), Price: o.Placement.Price}
	if m.Address == "" {
		m.Address = "127.0.0.1"
		if provision.Host != "" {
			m.Address = provision.Host[strings.LastIndex(provision.Host, "@")+1:]
		}
	}
	record, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", compute.ErrRefused, err)
	}
	digest, err := digestOf(o)
	if err != nil {
		return nil, err
	}
	environ, err := environment(provision.Env, o.Env)
	if err != nil {
		return nil, err
	}
	var argv []string
	for _, argument := range provision.Command {
		argv = append(argv, quote(argument))
	}
	s, err := p.ref(verb, compute.Ref{Key: o.Key, Provision: provision, Placement: o.Placement})
	if err != nil {
		return nil, err
	}
	s["RECORD"], s["DIGEST"], s["ENVIRON"] = string(record), digest, environ
	s["COMMAND"], s["PROGRAM"], s["RUN"] = "set -- "+strings.Join(argv, " "), provision.Command[0], p.supervisor
	return s, nil
}

// ref makes the call for a machine that is there. Its ID is its key.
func (p *Provider) ref(verb string, r compute.Ref) (script, error) {
	key := r.ID
	if key == "" {
		key = r.Key
	}
	if err := compute.CheckKey(key); err != nil {
		return nil, err
	}
	at := r.Provision
	dir := at.Dir
	if at.Host == "" {
		var err error
		if dir, err = filepath.Abs(dir); err != nil {
			return nil, fmt.Errorf("%w: %v", compute.ErrRefused, err)
		}
	}
	return script{
		"VERB": verb, "KEY": key, "DIR": dir, "PORTS": strings.Trim(fmt.Sprint(at.Ports), "[]"), "DISK": fmt.Sprint(at.Disk), "GPU": fmt.Sprint(at.GPUMemory),
	}, nil
}

// digestOf tells orders apart. Secrets and the time of expiry are no part of it.
func digestOf(o compute.Order) (string, error) {
	text, err := json.Marshal([]any{o.Service, o.Epoch, o.Mode, o.Provision, o.Placement})
	if err != nil {
		return "", fmt.Errorf("%w: %v", compute.ErrRefused, err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// environment writes variables as shell text; where a name is in both, ours counts.
func environment(runbook, ours map[string]string) (string, error) {
	all := maps.Clone(runbook)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, ours)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !variableName.MatchString(name) || name == "UNDERSTUDY_MACHINE" {
			return "", fmt.Errorf("%w: %q cannot be the name of a variable of the process", compute.ErrRefused, name)
		}
		b.WriteString("export " + name + "=" + quote(all[name]) + "\n")
	}
	return b.String(), nil
}
