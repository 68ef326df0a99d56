package replay

import (
	"testing"

	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"
)

// mutations make a history that of other code than ours; each reports whether
// the event is one that it can change. What they change is what replay compares
// commands by.
var mutations = map[string]func(e *historypb.HistoryEvent) bool{
	"another activity": func(e *historypb.HistoryEvent) bool {
		scheduled := e.GetActivityTaskScheduledEventAttributes()
		if scheduled != nil {
			scheduled.ActivityType.Name += "Again"
		}
		return scheduled != nil
	},
	"no look": func(e *historypb.HistoryEvent) bool {
		marker := e.GetMarkerRecordedEventAttributes()
		if marker != nil {
			marker.MarkerName = "SideEffect"
		}
		return marker != nil
	},
	"another child": func(e *historypb.HistoryEvent) bool {
		child := e.GetStartChildWorkflowExecutionInitiatedEventAttributes()
		if child != nil {
			child.WorkflowType.Name = "Drill"
		}
		return child != nil
	},
	"another signal": func(e *historypb.HistoryEvent) bool {
		signal := e.GetSignalExternalWorkflowExecutionInitiatedEventAttributes()
		if signal != nil {
			signal.SignalName += "Early"
		}
		return signal != nil
	},
	"another order": func(e *historypb.HistoryEvent) bool {
		update := e.GetWorkflowExecutionUpdateAcceptedEventAttributes()
		if update != nil {
			update.AcceptedRequest.Input.Name += "Please"
		}
		return update != nil
	},
	"another timer": func(e *historypb.HistoryEvent) bool {
		timer := e.GetTimerStartedEventAttributes()
		if timer != nil {
			timer.TimerId += "0"
		}
		return timer != nil
	},
}

// A replay that takes every history proves nothing: that of other code must fail.
func TestHistoriesOfOtherCodeDoNotReplay(t *testing.T) {
	recorded, kinds := histories(t), map[string]bool{}
	for what, mutate := range mutations {
		t.Run(what, func(t *testing.T) {
			mutated := 0
			for name, h := range recorded {
				h = proto.Clone(h).(*historypb.History)
				for _, event := range h.Events {
					if mutate(event) {
						mutated++
						kinds[Type(h)] = true
						if Replay(h) == nil {
							t.Errorf("%s replays with %s in event %d", name, what, event.GetEventId())
						}
						break
					}
				}
			}
			if mutated == 0 {
				t.Error("no history has an event of this kind")
			}
		})
	}
	for name, h := range recorded {
		if !kinds[Type(h)] {
			t.Errorf("%s: no %s was changed", name, Type(h))
		}
	}
}

func TestAnUnknownWorkflowDoesNotReplay(t *testing.T) {
	for name, h := range histories(t) {
		h = proto.Clone(h).(*historypb.History)
		h.Events[0].GetWorkflowExecutionStartedEventAttributes().WorkflowType.Name += "OfOld"
		if Replay(h) == nil {
			t.Errorf("%s replays as a workflow that is not registered", name)
		}
	}
}
