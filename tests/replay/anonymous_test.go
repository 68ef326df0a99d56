package replay

import (
	"bytes"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"google.golang.org/protobuf/proto"
)

func TestNoMachineIsNamed(t *testing.T) {
	h := &historypb.History{Events: []*historypb.HistoryEvent{
		{Attributes: &historypb.HistoryEvent_WorkflowTaskScheduledEventAttributes{WorkflowTaskScheduledEventAttributes: &historypb.WorkflowTaskScheduledEventAttributes{
			TaskQueue: &taskqueuepb.TaskQueue{Name: "db-7:023975ad-f613-4ad4-8000-000000000000", NormalName: "understudy"},
		}}},
		{Attributes: &historypb.HistoryEvent_ActivityTaskStartedEventAttributes{ActivityTaskStartedEventAttributes: &historypb.ActivityTaskStartedEventAttributes{
			Identity: "understudy@db-7 (123)",
		}}},
		{Attributes: &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{
			Identity: "understudy@db-7 (123)", Result: &commonpb.Payloads{Payloads: []*commonpb.Payload{{Data: []byte(`"held by recovery/x/1 @ db-7/0a1b2c3d"`)}}},
		}}},
	}}
	if err := Anonymous(h, "db-7"); err != nil {
		t.Fatal(err)
	}
	wire, err := proto.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(wire, []byte("db-7")) {
		t.Errorf("the machine is still named: %v", h)
	}
	for _, kept := range []string{"recorder:023975ad-f613-4ad4-8000-000000000000", "recovery/x/1 @ recorder/0a1b2c3d", "understudy"} {
		if !bytes.Contains(wire, []byte(kept)) {
			t.Errorf("%q is lost: %v", kept, h)
		}
	}
}
