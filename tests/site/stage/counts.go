package stage

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Stats are counts since the start.
type Stats struct {
	// Requests that have arrived, by path; what has no route is under "/".
	Requests map[string]int `json:"requests"`
	// InFlight are requests that are not answered yet.
	InFlight int `json:"in_flight"`
	// Inferences that came to their end.
	Inferences int `json:"inferences"`
}

// request is what answered requests are counted by.
type request struct {
	path   string
	status int
}

type counts struct {
	mu               sync.Mutex
	arrivals         map[string]int
	requests         map[request]int // answered
	inFlight         int
	inferences       int
	inferenceSeconds float64
}

func newCounts() counts {
	return counts{arrivals: map[string]int{}, requests: map[request]int{}}
}

// arrived counts a request; the caller calls back with the status of its answer.
func (c *counts) arrived(route string) (done func(status int)) {
	// A route is "GET /health", or "/", or nothing where the request has no path.
	_, path, _ := strings.Cut(route, "/")
	path = "/" + path
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arrivals[path]++
	c.inFlight++
	return func(status int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.requests[request{path, status}]++
		c.inFlight--
	}
}

func (c *counts) inferred(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inferences++
	c.inferenceSeconds += took.Seconds()
}

func (c *counts) stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{Requests: maps.Clone(c.arrivals), InFlight: c.inFlight, Inferences: c.inferences}
}

// writeMetrics answers in the text format of Prometheus.
func (c *counts) writeMetrics(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	fmt.Fprintln(w, "# HELP speech_up Whether the model is loaded.\n# TYPE speech_up gauge\nspeech_up 1")
	fmt.Fprintln(w, "# HELP speech_requests_total Requests answered.\n# TYPE speech_requests_total counter")
	for _, r := range slices.SortedFunc(maps.Keys(c.requests), func(a, b request) int {
		return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.status, b.status))
	}) {
		fmt.Fprintf(w, "speech_requests_total{path=%q,status=\"%d\"} %d\n", r.path, r.status, c.requests[r])
	}
	fmt.Fprintln(w, "# HELP speech_requests_in_flight Requests not answered yet.\n# TYPE speech_requests_in_flight gauge")
	fmt.Fprintln(w, "speech_requests_in_flight", c.inFlight)
	fmt.Fprintln(w, "# HELP speech_inference_seconds Time that inferences took.\n# TYPE speech_inference_seconds summary")
	fmt.Fprintln(w, "speech_inference_seconds_sum", c.inferenceSeconds)
	fmt.Fprintln(w, "speech_inference_seconds_count", c.inferences)
}
