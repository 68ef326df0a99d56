package jobs

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"
)

// State is where a job stands.
type State string

// The states.
const (
	// Waiting is nobody working on it: new, or stopped in good order.
	Waiting State = "waiting"
	// Running is somebody working on it, or one who died.
	Running   State = "running"
	Finished  State = "finished"
	Cancelled State = "cancelled"
	// Deleted is being removed; the head goes last.
	Deleted State = "deleted"
)

// Head is how far a job is and who works on it. Each change is a compare-and-swap.
type Head struct {
	Version int    `json:"version"`
	Job     string `json:"job"`
	// Epoch grows with each recovery of the service; within one, Session is whoever took the job last. A runner whose
	// session is not here any more stops.
	Epoch   int64  `json:"epoch"`
	Session string `json:"session"`
	// Holder names the runner to people, and to itself when it comes back.
	Holder string `json:"holder"`
	State  State  `json:"state"`
	// Reason says why it waits, or who cancelled it and why.
	Reason string `json:"reason,omitempty"`
	Window Window `json:"window"`
	// Lanes is how many items its runner has in flight at most.
	Lanes int `json:"lanes"`
	Counts
	// Variants are those whose results count, the oldest first; the last is the current one.
	Variants []Variant `json:"variants,omitempty"`
	// Round grows when failed items are tried again.
	Round int `json:"round"`
	// Report is the key of the final report behind the job's id, once it is finished.
	Report string    `json:"report,omitempty"`
	At     time.Time `json:"at"`
}

// Window is where the work is. All items before Item have an outcome; no item from
// End on has been started.
type Window struct {
	Position
	End int64 `json:"end"`
}

// Position is a place in the manifest: an item, and the byte at which its line
// begins. A byte of 0 with a later item means that the byte is not known.
type Position struct {
	Item int64 `json:"item"`
	Byte int64 `json:"byte"`
}

// Counts are about the items before the window. RedoneSeconds is audio that was
// sent and whose answer was lost, so that it had to be sent again.
type Counts struct {
	Succeeded     int64   `json:"succeeded"`
	Failed        int64   `json:"failed"`
	Quarantined   int64   `json:"quarantined"`
	AudioSeconds  float64 `json:"audio_seconds"`
	RedoneSeconds float64 `json:"redone_seconds"`
}

// Open reports whether there is work left that a runner may take.
func (h Head) Open() bool { return h.State == Waiting || h.State == Running }

// Current is the variant that is worked with; zero where none was chosen yet.
func (h Head) Current() Variant {
	if len(h.Variants) == 0 {
		return Variant{}
	}
	return h.Variants[len(h.Variants)-1]
}

// newHead is the head of a job that nobody has begun.
func newHead(j Job) Head {
	return Head{Version: Version, Job: j.ID, State: Waiting, Reason: "new", Round: 1, At: j.CreatedAt}
}

func (h Head) encode() []byte { return encode(h) }

// parseHead reads a head; what contradicts the job is torn.
func parseHead(j Job, key string, content []byte) (Head, error) {
	var h Head
	if err := json.Unmarshal(content, &h); err != nil {
		return Head{}, torn(key, "it is no head: %v", err)
	}
	known := slices.Contains([]State{Waiting, Running, Finished, Cancelled, Deleted}, h.State)
	w := h.Window
	switch {
	case h.Version != Version:
		return Head{}, torn(key, "it has layout version %d; this program knows %d", h.Version, Version)
	case h.Job != j.ID:
		return Head{}, torn(key, "it is the head of job %q", h.Job)
	case !known:
		return Head{}, torn(key, "its state is %q", h.State)
	case h.Epoch < 0 || h.Session != "" && !sessionPattern.MatchString(h.Session):
		return Head{}, torn(key, "its epoch or session makes no sense")
	case w.Item < 0 || w.Item > j.Manifest.Items || w.End < 0 || w.End > j.Manifest.Items || w.Byte < 0 || w.Byte > j.Manifest.Bytes:
		return Head{}, torn(key, "its window %d to %d lies outside of the manifest's %d items", w.Item, w.End, j.Manifest.Items)
	case h.Succeeded < 0 || h.Failed < 0 || h.Quarantined < 0 || bad(h.AudioSeconds) || bad(h.RedoneSeconds):
		return Head{}, torn(key, "its counts make no sense")
	}
	for _, v := range h.Variants {
		if !variantPattern.MatchString(v.ID) || v.Revision == "" {
			return Head{}, torn(key, "its variant %s makes no sense", strconv.Quote(v.ID))
		}
	}
	h.Window.End = max(h.Window.End, h.Window.Item)
	h.Lanes = min(max(h.Lanes, 1), 1000)
	return h, nil
}

func bad(seconds float64) bool { return math.IsNaN(seconds) || math.IsInf(seconds, 0) || seconds < 0 }

// encode writes JSON as people read it: no escapes that nobody needs.
func encode(v any) []byte {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v) // plain data always encodes
	return text.Bytes()
}
