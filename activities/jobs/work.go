package jobs

import (
	"context"
	"time"

	"github.com/understudy-dr/understudy/activities/speech"
)

// Transcriber turns audio into text; *speech.HTTPClient is one.
type Transcriber interface {
	Transcribe(ctx context.Context, r speech.TranscribeRequest) (speech.Transcript, error)
}

// Opener opens audio by reference: an absolute path or an s3:// URL.
type Opener interface {
	// Open makes the audio readable as a local file. Errors are ErrNoAudio where it will not be had another time
	// either, else ErrUnavailable.
	Open(ctx context.Context, ref string) (File, error)
}

// File is an audio file on this machine.
type File struct {
	Path string
	Size int64
	// Close removes what was made for it; nil where nothing was.
	Close func()
}

// Cutter cuts long audio.
type Cutter interface {
	// Cut decodes a file and cuts it into pieces of at most the limit: where the spans say, or in silences where there
	// are none yet. What cannot be decoded is speech.ErrItem, with the reason.
	Cut(ctx context.Context, path string, limit time.Duration, spans []speech.Span) (speech.Pieces, error)
	// Check decodes a file and throws the sound away. What cannot be decoded is speech.ErrItem, with the reason.
	Check(ctx context.Context, path string) error
}

// Runner works off jobs. It is safe for concurrent use; one job is worked on by
// one run at a time, and the later one wins.
type Runner struct {
	Store  *Store
	Audio  Opener
	Speech Transcriber
	// Cutter may be nil: long audio is then sent whole.
	Cutter Cutter
	// Backoff is how long to wait before an item or a service is tried again, doubled each time; default 500 ms.
	Backoff time.Duration
}

// Work is an order to a runner.
type Work struct {
	Job   string
	Claim Claim
	// URL is the base URL of the active. Best is its own address and not that of the front door: a switch in the middle
	// of an item is then seen as what it is.
	URL string
	// Revision is that of the model which answers there.
	Revision string
	// Confirm, where given, asks the service for its revision; it is called after answers and before they are kept, so
	// that a model that changes behind a front door cannot slip its results under another's name.
	Confirm func(context.Context) (string, error)
	// Items ends the run after about so many; 0 runs to the end of the manifest.
	Items int64
	// SlowStart begins with one request at a time, as after a recovery.
	SlowStart bool
	// Patience is how long the service may be away; 0 is the default, a negative one none.
	Patience time.Duration
	// StorePatience is the same for the store alone: what was transcribed is held meanwhile. 0 is that of Patience.
	StorePatience time.Duration
	// KeepGoing goes on where every item fails in the same way.
	KeepGoing bool
	// Stop, once closed, ends the run in good order when what is in flight is done. The end of the context breaks that
	// off at once, and counts it as an attempt of each item: one of them may be why the service hangs.
	Stop <-chan struct{}
	// Progress, where given, is told after each item, and every 2 seconds at least; never twice at once. It must not block.
	Progress func(Progress)
}

// Progress is how far a job is.
type Progress struct {
	Job string `json:"job"`
	// Next is the oldest item without an outcome.
	Next  Position `json:"next"`
	Items int64    `json:"items"`
	// Counts are of all items with an outcome, also of those behind Next.
	Counts
	InFlight int `json:"in_flight"`
	// TotalSeconds of audio are in the manifest.
	TotalSeconds float64 `json:"total_seconds"`
	// Speed is how many seconds of audio were transcribed a second since this run began; 0 before the first.
	Speed float64 `json:"speed,omitempty"`
	// Done means that each item has its outcome: the job wants to be finished.
	Done bool `json:"done"`
}

// Settled is how many items have an outcome.
func (p Progress) Settled() int64 { return p.Succeeded + p.Failed + p.Quarantined }

// Left is how long the rest will take at the present speed; false where nobody can say.
func (p Progress) Left() (time.Duration, bool) {
	if p.Speed <= 0 || p.Items == 0 {
		return 0, false
	}
	rest := p.TotalSeconds * float64(p.Items-p.Succeeded-p.Failed-p.Quarantined) / float64(p.Items)
	if p.Failed+p.Quarantined == 0 {
		rest = p.TotalSeconds - p.AudioSeconds
	}
	return time.Duration(max(rest, 0) / p.Speed * float64(time.Second)), true
}
