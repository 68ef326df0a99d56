package fence

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
)

// commandPatience bounds one look by a command.
const commandPatience = 5 * time.Second

// proof is how sure a look makes that an instance is down.
type proof int

const (
	none    proof = iota
	silence       // it cannot be reached, or only from here
	refusal       // its host refuses the connection, or the confirming command says so
)

// confirm looks once. An instance that is mute may wake up, and one that answers
// with errors lives: neither is down.
func (f *fencer) confirm(ctx context.Context, o Order) (saw string, found proof) {
	c := *o.Fence.Confirm
	var ask probe.Request
	var at string
	var err error
	switch c.Kind {
	case "tcp-closed":
		ask, at, err = closedRequest(c, o)
	case "http-down":
		ask, at, err = downRequest(c, o)
	case "command":
		ctx, cancel := context.WithTimeout(ctx, commandPatience)
		defer cancel()
		if err := runCommand(ctx, c.Command, o.Env); err != nil {
			return "the confirming command does not confirm it: " + err.Error(), none
		}
		return "the confirming command says so", refusal
	default:
		err = fmt.Errorf("confirm kind %q is not known", c.Kind)
	}
	if err != nil {
		return err.Error(), none
	}
	seen := f.Prober.Probe(ctx, ask)
	switch seen.Finding {
	case runbooks.Refuses:
		return fmt.Sprintf("%s %s", at, seen.Finding), refusal
	case runbooks.Unreachable:
		return fmt.Sprintf("%s %s", at, seen.Finding), silence
	default:
		return fmt.Sprintf("%s %s (%s)", at, seen.Finding, seen.Detail), none
	}
}

// closedRequest asks whether anybody accepts connections.
func closedRequest(c runbooks.Confirm, o Order) (probe.Request, string, error) {
	ask := probe.Request{URL: "tcp://" + c.Address, Health: runbooks.Health{Kind: "tcp", Timeout: o.Health.Timeout}}
	if c.Address != "" {
		return ask, c.Address, nil
	}
	u, err := url.Parse(o.Target.URL)
	if err != nil || u.Host == "" {
		return probe.Request{}, "", errNoAddress
	}
	ask.URL = o.Target.URL
	return ask, u.Host, nil
}

// downRequest asks the health check, or another URL, whatever the answer would mean.
func downRequest(c runbooks.Confirm, o Order) (probe.Request, string, error) {
	ask := probe.Request{URL: o.Target.URL, Health: runbooks.Health{Kind: "http", Path: o.Health.Path, Timeout: o.Health.Timeout}}
	if c.URL != "" {
		ask.URL = c.URL
	}
	u, err := url.Parse(ask.URL)
	if err != nil || u.Host == "" {
		return probe.Request{}, "", errNoAddress
	}
	if c.URL != "" {
		ask.Health.Path = u.RequestURI()
		ask.URL = u.Scheme + "://" + u.Host
	}
	return ask, u.Host, nil
}
