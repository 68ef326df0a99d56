// Package replay holds recorded histories of every workflow, and replays them
// with the code as it is now. A change that a running recovery would not survive
// fails here, and not in the middle of somebody's outage.
//
// The histories in testdata are those of real scenes on real parts; `make
// histories` records them again. Each is what `temporal workflow show --output
// json` prints, packed, so one from production can be added as it is. All that
// lies below testdata is replayed: histories of a released version belong into a
// folder of their own there, which no recording touches, because upgrades meet
// them.
package replay

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"

	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-dr/understudy/workflows"
)

// Extension of a packed history.
const Extension = ".json.gz"

// Type is the name of a history's workflow; empty for what is no history.
func Type(h *historypb.History) string {
	if len(h.GetEvents()) == 0 {
		return ""
	}
	return h.Events[0].GetWorkflowExecutionStartedEventAttributes().GetWorkflowType().GetName()
}

// Activities are the names of the activities that a history has begun, also of
// those inside workflow tasks, in their order.
func Activities(h *historypb.History) []string {
	var names []string
	for _, event := range h.GetEvents() {
		if scheduled := event.GetActivityTaskScheduledEventAttributes(); scheduled != nil {
			names = append(names, scheduled.GetActivityType().GetName())
		}
		for _, payload := range event.GetMarkerRecordedEventAttributes().GetDetails()["data"].GetPayloads() {
			var local struct{ ActivityType string }
			if json.Unmarshal(payload.GetData(), &local) == nil && local.ActivityType != "" {
				names = append(names, local.ActivityType)
			}
		}
	}
	return names
}

// Replay replays a history with the workflows as they are now. Its error names
// the first event that does not fit.
func Replay(h *historypb.History) error {
	replayer := worker.NewWorkflowReplayer()
	workflows.Register(replayer)
	options := worker.ReplayWorkflowHistoryOptions{}
	if len(h.GetEvents()) > 0 {
		started := h.Events[0].GetWorkflowExecutionStartedEventAttributes()
		options.OriginalExecution = workflow.Execution{ID: started.GetWorkflowId(), RunID: started.GetOriginalExecutionRunId()}
	}
	quiet := log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	return replayer.ReplayWorkflowHistoryWithOptions(quiet, h, options)
}

// Read reads a packed history.
func Read(path string) (*historypb.History, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", path, err)
	}
	h, err := client.HistoryFromJSON(unpacked, client.HistoryJSONOptions{})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return h, nil
}

// Write packs a history into a file. The same history always gives the same
// bytes.
func Write(path string, h *historypb.History) error {
	text, err := encode(h)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression) // its header names no file and no time
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, packed.Bytes(), 0o644)
}

// encode words a history as JSON, and makes sure that nothing is lost by it.
func encode(h *historypb.History) ([]byte, error) {
	text, err := temporalproto.CustomJSONMarshalOptions{}.Marshal(h)
	if err != nil {
		return nil, err
	}
	again, err := client.HistoryFromJSON(bytes.NewReader(text), client.HistoryJSONOptions{})
	if err != nil {
		return nil, err
	}
	if !proto.Equal(h, again) {
		return nil, errors.New("the history does not survive the way to JSON and back")
	}
	// The encoder puts spaces here and there at will.
	var compact bytes.Buffer
	err = json.Compact(&compact, text)
	return compact.Bytes(), err
}
