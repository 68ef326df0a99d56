package deploy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each question of the shipped dashboard is one that Prometheus understands, and
// no two panels are in one another's way.
func TestTheDashboardAsksWhatPrometheusUnderstands(t *testing.T) {
	promtool := needs(t, "promtool", "prometheus")
	type place struct{ H, W, X, Y int }
	var board struct {
		Title, UID string
		Panels     []struct {
			ID      int
			Title   string
			Type    string
			GridPos place
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, shipped(t, "grafana/understudy.json"))), &board); err != nil {
		t.Fatal(err)
	}
	var rules strings.Builder
	rules.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	asked, ids, taken := 0, map[int]bool{}, map[[2]int]string{}
	for _, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		for y := range p.GridPos.H {
			for x := range p.GridPos.W {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other, ok := taken[at]; ok || at[0] >= 24 {
					t.Fatalf("%s lies upon %s", p.Title, other)
				}
				taken[at] = p.Title
			}
		}
		for _, target := range p.Targets {
			expr := strings.NewReplacer("$service", ".*", "$__range", "6h").Replace(target.Expr)
			if strings.Contains(expr, "$") {
				t.Errorf("%s asks with a variable that the dashboard does not have: %s", p.Title, expr)
			}
			fmt.Fprintf(&rules, "      - record: dashboard:%d\n        expr: %q\n", asked, expr)
			asked++
		}
	}
	if board.UID != "understudy" || asked < 12 {
		t.Errorf("%s asks %d questions", board.UID, asked)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, promtool, "check", "rules", file)
}
