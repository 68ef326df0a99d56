package commands

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"
)

// errNotFound means that the server has no such thing.
var errNotFound = errors.New("not found")

// get asks the running Understudy.
func (g *Globals) get(path string, into any) error {
	request, err := http.NewRequestWithContext(g.ctx, http.MethodGet, strings.TrimSuffix(g.Server, "/")+path, nil)
	if err != nil {
		return exit{ExitUsage, fmt.Errorf("--server %s: %w", g.Server, err)}
	}
	client := &http.Client{Timeout: 30 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return exit{ExitAway, fmt.Errorf("no Understudy answers at %s (start one with understudy serve, or name another with --server): %w", g.Server, err)}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return exit{ExitAway, err}
	}
	if response.StatusCode == http.StatusOK {
		return json.Unmarshal(body, into)
	}
	var told struct {
		Detail string `json:"detail"`
	}
	_ = json.Unmarshal(body, &told)
	if told.Detail == "" {
		told.Detail = response.Status
	}
	if response.StatusCode == http.StatusNotFound {
		return exit{ExitFailed, fmt.Errorf("%s: %w", told.Detail, errNotFound)}
	}
	return exit{ExitFailed, errors.New(told.Detail)}
}

// print writes an answer as JSON, or as the table that show writes.
func (g *Globals) print(answer any, show func(w io.Writer)) error {
	if g.Output == "json" {
		encoder := json.NewEncoder(g.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(answer)
	}
	w := tabwriter.NewWriter(g.out, 0, 4, 2, ' ', 0)
	show(w)
	return w.Flush()
}

func row(w io.Writer, cells ...any) {
	text := make([]string, len(cells))
	for i, cell := range cells {
		text[i] = fmt.Sprint(cell)
		if text[i] == "" {
			text[i] = "-"
		}
	}
	fmt.Fprintln(w, strings.Join(text, "\t"))
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func seconds(s float64) string {
	if s == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f s", s)
}
