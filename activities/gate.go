package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/runbooks"
)

// CheckStandbyInput asks whether a standby may be used.
type CheckStandbyInput struct {
	Target   runbooks.Target   `json:"target"`
	Health   runbooks.Health   `json:"health"`
	Version  *runbooks.Version `json:"version,omitempty"`
	Settings []runbooks.Source `json:"settings,omitempty"`
}

// Gate is the answer, with its reasons.
type Gate struct {
	Timing
	// Refusals say why the standby must not be used; empty where it may.
	Refusals []string `json:"refusals,omitempty"`
	// Unsure says that nothing is known to be wrong with the standby: it is refused only because nobody could say
	// what it should be like.
	Unsure bool `json:"unsure,omitempty"`
	// Answers reports whether the standby answers at all, so that it could do harm with traffic.
	Answers bool `json:"answers"`
	// Finding is what the probe saw.
	Finding runbooks.Finding `json:"finding"`
	// Notes are worth telling, but stop nothing: a value that is only the last known one.
	Notes   []string `json:"notes,omitempty"`
	Version string   `json:"version,omitempty"`
}

// CheckStandby asks a running standby for health, readiness, version and
// settings, all at once. It only looks.
func (a *Activities) CheckStandby(ctx context.Context, in CheckStandbyInput) (Gate, error) {
	g := Gate{Timing: begin()}
	var health, version, set Gate
	var wg sync.WaitGroup
	wg.Go(func() { health = a.checkHealth(ctx, in) })
	wg.Go(func() { version = a.checkVersion(ctx, in) })
	wg.Go(func() { set = a.checkSettings(ctx, in) })
	wg.Wait()
	g.Finding, g.Answers, g.Version = health.Finding, health.Answers, version.Version
	g.Refusals = health.Refusals
	if health.Answers {
		// A standby that does not answer fails every check for one reason; that one is enough.
		g.Refusals = append(append(g.Refusals, version.Refusals...), set.Refusals...)
	}
	g.Unsure = len(health.Refusals) == 0 && version.passable() && set.passable() && len(g.Refusals) > 0
	g.Notes = append(version.Notes, set.Notes...)
	g.Timing = g.Timing.end()
	return g, nil
}

// passable reports whether nothing is known to be wrong.
func (g Gate) passable() bool { return len(g.Refusals) == 0 || g.Unsure }

func (a *Activities) checkHealth(ctx context.Context, in CheckStandbyInput) (g Gate) {
	seen := a.Prober.Probe(ctx, probe.Request{URL: in.Target.URL, Health: in.Health})
	g.Finding = seen.Finding
	switch seen.Finding {
	case runbooks.Answers:
		g.Answers = true
	case runbooks.Slow:
		g.Answers = true
		g.Notes = append(g.Notes, "health "+seen.Detail)
	case runbooks.Errors:
		g.Answers = true
		g.Refusals = append(g.Refusals, "health: "+seen.Detail)
	default:
		g.Refusals = append(g.Refusals, fmt.Sprintf("health: it %s (%s)", seen.Finding, seen.Detail))
	}
	return g
}

func (a *Activities) checkVersion(ctx context.Context, in CheckStandbyInput) (g Gate) {
	if in.Version == nil {
		return g
	}
	var expected, actual string
	var expectedErr, actualErr error
	var wg sync.WaitGroup
	wg.Go(func() {
		reading, err := a.Settings.Read(ctx, in.Version.Expected)
		expected, expectedErr = reading.Single(), err
		g.Notes = append(g.Notes, reading.Note("expected version")...)
	})
	wg.Go(func() {
		actual, actualErr = ask(ctx, in.Target.URL, in.Version.Actual.Path, in.Version.Actual.Field, "version")
	})
	wg.Wait()
	g.Version = actual
	switch {
	case expectedErr != nil:
		g.Unsure = true
		g.Refusals = append(g.Refusals, "version: the expected one is not known: "+expectedErr.Error())
	case actualErr != nil:
		g.Refusals = append(g.Refusals, fmt.Sprintf("version: expected %s, and it does not say: %v", expected, actualErr))
	case expected != actual:
		g.Refusals = append(g.Refusals, fmt.Sprintf("version: expected %s, got %s", expected, actual))
	}
	return g
}

func (a *Activities) checkSettings(ctx context.Context, in CheckStandbyInput) (g Gate) {
	unknown := 0
	defer func() { g.Unsure = unknown > 0 && unknown == len(g.Refusals) }()
	for _, source := range in.Settings {
		reading, err := a.Settings.Read(ctx, source)
		if err != nil {
			unknown++
			g.Refusals = append(g.Refusals, "settings: "+err.Error())
			continue
		}
		g.Notes = append(g.Notes, reading.Note("settings")...)
		if source.Actual == "" {
			continue
		}
		path, field, _ := strings.Cut(source.Actual, "#")
		actual, err := ask(ctx, in.Target.URL, path, field, "hash")
		switch {
		case err != nil:
			g.Refusals = append(g.Refusals, fmt.Sprintf("settings: expected %s, and it does not say: %v", reading.Hash, err))
		case actual != reading.Hash:
			g.Refusals = append(g.Refusals, fmt.Sprintf("settings: expected %s, got %s", reading.Hash, actual))
		}
	}
	return g
}

// ask gets one value from an instance: a field of its JSON answer, or the whole
// answer where that is no JSON object.
func ask(ctx context.Context, base, path, field, fallback string) (string, error) {
	const limit = 64 << 10
	ctx, cancel := context.WithTimeout(ctx, LookLimit-100*time.Millisecond)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(base, "/")+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	var fields map[string]any
	if json.Unmarshal(body, &fields) != nil {
		return strings.TrimSpace(string(body)), nil
	}
	if field == "" {
		field = fallback
	}
	value, ok := fields[field]
	if !ok {
		return "", fmt.Errorf("GET %s: the answer has no field %s", path, field)
	}
	return fmt.Sprint(value), nil
}
