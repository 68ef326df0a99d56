package replay

import (
	"regexp"

	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// somewhere stands for the machine on which was recorded.
const somewhere = "recorder"

// Anonymous removes a machine's name from a history: from who did a task, from
// the queue that a worker keeps to itself, and from what an Understudy calls
// itself before others, which are the host and an id. Replay looks at none of them.
func Anonymous(h *historypb.History, host string) error {
	named := regexp.MustCompile(`\b` + regexp.QuoteMeta(host) + `([:/][0-9a-f]{8}\b)`)
	return protorange.Range(h.ProtoReflect(), func(at protopath.Values) error {
		step := at.Index(-1).Step
		if step.Kind() != protopath.FieldAccessStep {
			return nil
		}
		field, value, of := step.FieldDescriptor(), at.Index(-1).Value, at.Index(-2).Value.Message()
		switch {
		case field.IsList() || field.IsMap():
		case field.Name() == "identity":
			of.Set(field, protoreflect.ValueOfString(somewhere))
		case field.Kind() == protoreflect.StringKind:
			of.Set(field, protoreflect.ValueOfString(named.ReplaceAllString(value.String(), somewhere+"$1")))
		case field.Kind() == protoreflect.BytesKind:
			of.Set(field, protoreflect.ValueOfBytes(named.ReplaceAll(value.Bytes(), []byte(somewhere+"$1"))))
		}
		return nil
	})
}
