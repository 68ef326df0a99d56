package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/tests/harness"
)

// passing are the columns of HAProxy's tables that change while nothing
// happens: times and traffic, and whether a check is under way.
var passing = []string{"srv_time_since_last_change", "srv_check_state"}

// lasting are the columns of its statistics that tell of the past: how often a
// server was seen down.
var lasting = []string{"svname", "status", "weight", "act", "bck", "chkdown", "addr", "mode"}

// balancer is all of HAProxy's state that Understudy, or a failed check, could
// have changed.
func balancer(t *testing.T, s *harness.Scene) string {
	t.Helper()
	state, err := readBalancer(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func readBalancer(ctx context.Context, s *harness.Scene) (string, error) {
	states, err := s.HAProxy.Command(ctx, "show servers state fun_asr")
	if err != nil {
		return "", err
	}
	shown, err := s.HAProxy.Command(ctx, "show stat fun_asr -1 -1")
	if err != nil {
		return "", err
	}
	_, states, _ = strings.Cut(states, "\n") // the number of the format
	return columns(states, " ", func(name string) bool { return !slices.Contains(passing, name) }) +
		columns(shown, ",", func(name string) bool { return slices.Contains(lasting, name) }), nil
}

// columns keeps the columns of a table that are wanted.
func columns(table, comma string, want func(name string) bool) string {
	var out strings.Builder
	var names []string
	for line := range strings.Lines(table) {
		line = strings.TrimSpace(line)
		if header, ok := strings.CutPrefix(line, "# "); ok {
			names = strings.Split(header, comma)
		}
		for i, cell := range strings.Split(strings.TrimPrefix(line, "# "), comma) {
			if i < len(names) && names[i] != "" && want(names[i]) {
				out.WriteString(cell + " ")
			}
		}
		out.WriteString("\n")
	}
	return out.String()
}

// unchanged checks that HAProxy is, to the byte, as it was. Its next check may
// have to come first where one has failed meanwhile.
func unchanged(t *testing.T, s *harness.Scene, before string) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		now, err := readBalancer(ctx, s)
		if err == nil && now != before {
			err = fmt.Errorf("HAProxy was\n%s\nand is\n%s", before, now)
		}
		return err
	})
}
