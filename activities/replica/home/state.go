package home

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/understudy-dr/understudy/activities/atomicfile"
	"github.com/understudy-dr/understudy/runbooks"
)

// stage is how far a take-over came. The word is the step that comes next, or
// was begun.
type stage string

const (
	restoring stage = "being restored"
	stopping  stage = "restored"
	moving    stage = "being put in place"
	starting  stage = "in place"
	taken     stage = "taken over"
	returning stage = "being given back"
	returned  stage = "given back"
)

// state is what a host remembers: its latest take-over.
type state struct {
	Service string `json:"service"`
	Epoch   int64  `json:"epoch"`
	From    int64  `json:"from"`
	// Former is the epoch below whose prefix the service wrote before.
	Former int64   `json:"former"`
	Stage  stage   `json:"stage"`
	Pieces []piece `json:"pieces"`
}

// piece is one piece of data on its way.
type piece struct {
	Piece
	// Staged is where it is restored, beside its place.
	Staged string `json:"staged"`
	// Weighed is true once the old data was looked through, or was found missing.
	Weighed bool `json:"weighed,omitempty"`
}

// between reports whether something was begun and neither finished nor taken back.
func (s state) between() bool { return s.Stage != "" && s.Stage != taken && s.Stage != returned }

// wrote is the epoch below whose prefix the service writes.
func (s state) wrote() int64 {
	if s.Stage == taken {
		return s.Epoch
	}
	return s.Former
}

// next is the state at the beginning of another take-over.
func (s state) next(from, epoch int64, data []runbooks.Data) state {
	n := state{Service: s.Service, Epoch: epoch, From: from, Former: s.wrote(), Stage: restoring}
	for _, d := range data {
		n.Pieces = append(n.Pieces, piece{Piece: Piece{Path: d.Path}, Staged: fmt.Sprintf("%s.epoch-%d", d.Path, epoch)})
	}
	return n
}

func (s state) taken() Taken {
	t := Taken{Epoch: s.Epoch, From: s.From}
	for _, p := range s.Pieces {
		t.Pieces = append(t.Pieces, p.Piece)
	}
	return t
}

// load reads the state; that of another service is an error.
func (h *Host) load() (state, error) {
	s := state{Service: h.Service}
	content, err := os.ReadFile(h.State)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, nil
	case err != nil:
		return s, err
	}
	if err := json.Unmarshal(content, &s); err != nil {
		return s, fmt.Errorf("%s is damaged: %w; it says which data is where, so look at the data before you remove it", h.State, err)
	}
	if s.Service != h.Service {
		return s, fmt.Errorf("%s is about the service %s, not %s; give each service a state file of its own", h.State, s.Service, h.Service)
	}
	if len(s.Pieces) > 0 && len(s.Pieces) != len(h.Data) {
		return s, fmt.Errorf("%s is about %d pieces of data, and the runbook has %d now; remove it where nothing is to be given back", h.State, len(s.Pieces), len(h.Data))
	}
	return s, nil
}

// save writes the state with another stage, durably.
func (h *Host) save(s *state, next stage) error {
	s.Stage = next
	content, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(h.State, append(content, '\n'), 0o600)
}
