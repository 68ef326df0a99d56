package epoch

import (
	"encoding/json"
	"fmt"
	"regexp"
)

// MaxSize bounds what a store reads as one record, in bytes.
const MaxSize = 64 << 10

// maxHolder bounds the name of a holder, in bytes: a workflow id and an engine.
const maxHolder = 1000

// serviceName is what runbooks allow. A name becomes a part of keys and file
// names, so stores check it again.
var serviceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// CheckService returns an error for what cannot be the name of a service.
func CheckService(service string) error {
	if !serviceName.MatchString(service) {
		return fmt.Errorf("%q is no name of a service; use lower-case letters, digits and dashes, at most 63", service)
	}
	return nil
}

// Check returns an error for what cannot be a record.
func (r Record) Check() error {
	if err := CheckService(r.Service); err != nil {
		return err
	}
	switch {
	case r.Epoch < 1:
		return fmt.Errorf("epoch %d of %s: epochs begin at 1", r.Epoch, r.Service)
	case r.Holder == "":
		return fmt.Errorf("epoch %d of %s has no holder", r.Epoch, r.Service)
	case len(r.Holder) > maxHolder:
		return fmt.Errorf("the holder of epoch %d of %s has a name of more than %d bytes", r.Epoch, r.Service, maxHolder)
	}
	return nil
}

// Decide tells a store what to keep when next is written over current, which is
// nil where there is no record yet. changed is false where the store holds
// already what is to be written. *HeldError means that next must not be written.
func Decide(current *Record, next Record) (kept Record, changed bool, err error) {
	switch {
	case current != nil && current.Epoch < next.Epoch && atWork(*current, next):
		return *current, false, &HeldError{Current: *current}
	case current == nil || current.Epoch < next.Epoch:
		return next, true, nil
	case current.Epoch > next.Epoch || current.Holder != next.Holder:
		return *current, false, &HeldError{Current: *current}
	case next.Active == "" || next.Active == current.Active:
		return *current, false, nil
	default:
		return next, true, nil
	}
}

// atWork reports whether a record is that of another engine's recovery that has
// not ended, and may still be running.
func atWork(current, next Record) bool {
	if current.Active != "" || current.Engine() == "" || next.Engine() == "" || current.Engine() == next.Engine() {
		return false
	}
	age := next.At.Sub(current.At)
	return -Patience < age && age < Patience
}

// Encode is a record as stores keep it: one JSON object, readable by people.
func Encode(r Record) ([]byte, error) {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode epoch %d of %s: %w", r.Epoch, r.Service, err)
	}
	return append(text, '\n'), nil
}

// Decode reads what a store holds for a service. What is no record of that
// service is an error, never "no record": somebody may hold an epoch that
// cannot be read.
func Decode(service string, text []byte) (Record, error) {
	var r Record
	err := json.Unmarshal(text, &r)
	if err == nil {
		err = r.Check()
	}
	if err == nil && r.Service != service {
		err = fmt.Errorf("it is about %s", r.Service)
	}
	if err != nil {
		return Record{}, fmt.Errorf("what is kept there is no epoch record of %s; find out who wrote it, then correct or remove it by hand: %w", service, err)
	}
	return r, nil
}
