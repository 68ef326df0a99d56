package ec2

import (
	"fmt"
	"slices"
	"time"
)

// stateChange is how EC2 tells of a change of state.
type stateChange struct {
	InstanceID string   `xml:"instanceId"`
	Current    stateXML `xml:"currentState"`
	Previous   stateXML `xml:"previousState"`
}

type changesXML struct {
	RequestID string        `xml:"requestId"`
	Changes   []stateChange `xml:"instancesSet>item"`
}

// change applies what an action does to each instance that it names, all or none.
func (q *request) change(action string, fits func(*instance) *refusal, apply func(*instance)) (any, *refusal) {
	found, why := q.named()
	if why != nil {
		return nil, why
	}
	for _, i := range found {
		if why := q.allow(Access{Action: "ec2:" + action, Resource: q.arn("instance", i.ID), Keys: resourceTags(i.Tags)}); why != nil {
			return nil, why
		}
	}
	for _, i := range found {
		if why := fits(i); why != nil {
			return nil, why
		}
	}
	if why := q.dryRun(); why != nil {
		return nil, why
	}
	out := changesXML{RequestID: requestID}
	for _, i := range found {
		before := state(i.State)
		apply(i)
		out.Changes = append(out.Changes, stateChange{InstanceID: i.ID, Previous: before, Current: state(i.State)})
	}
	return out, nil
}

// named finds the instances that a request names; one that cannot be seen yet is not found.
func (q *request) named() ([]*instance, *refusal) {
	ids := q.list("InstanceId")
	if len(ids) == 0 {
		return nil, refuse("MissingParameter", "The request must contain the parameter InstanceId")
	}
	var found []*instance
	for _, id := range ids {
		i, why := q.seen(id)
		if why != nil {
			return nil, why
		}
		found = append(found, i)
	}
	return found, nil
}

func (q *request) seen(id string) (*instance, *refusal) {
	if !instanceID.MatchString(id) {
		return nil, refuse("InvalidInstanceID.Malformed", "Invalid id: %q", id)
	}
	i := q.r.find(id)
	if i == nil || q.now.Before(i.visible) {
		return nil, refuse("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
	}
	return i, nil
}

func (s *Server) startInstances(q *request) (any, *refusal) {
	return q.change("StartInstances", func(i *instance) *refusal {
		if i.State != stopped && !i.alive() {
			return refuse("IncorrectInstanceState", "The instance '%s' is not in a state from which it can be started.", i.ID)
		}
		return nil
	}, func(i *instance) {
		if i.State == stopped {
			i.Launched = q.now
			q.turnOn(i)
		}
	})
}

func (s *Server) stopInstances(q *request) (any, *refusal) {
	return q.change("StopInstances", func(i *instance) *refusal {
		if !slices.Contains([]string{running, stopping, stopped}, i.State) {
			return refuse("IncorrectInstanceState", "This instance '%s' is not in a state from which it can be stopped.", i.ID)
		}
		return nil
	}, func(i *instance) {
		if i.State == running {
			q.turnOff(i, stopping, "Client.UserInitiatedShutdown", userInitiated(q.now))
		}
	})
}

func (s *Server) terminateInstances(q *request) (any, *refusal) {
	return q.change("TerminateInstances", func(*instance) *refusal { return nil }, func(i *instance) {
		if i.State == shuttingDown || i.State == terminated {
			return
		}
		if r := q.r.reservation(i.Reservation); r != nil {
			r.Free++
		}
		q.turnOff(i, shuttingDown, "Client.UserInitiatedShutdown", userInitiated(q.now))
	})
}

func userInitiated(now time.Time) string {
	return fmt.Sprintf("Client.UserInitiatedShutdown: User initiated shutdown (%s)", now.UTC().Format("2006-01-02 15:04:05 GMT"))
}

// createTags sets tags on instances.
func (s *Server) createTags(q *request) (any, *refusal) {
	tags := q.tags("")
	if why := checkTags(tags); why != nil {
		return nil, why
	}
	var found []*instance
	for _, id := range q.list("ResourceId") {
		if kindOf(id) != "instance" {
			return nil, refuse("InvalidParameterValue", "this fake tags instances only")
		}
		i, why := q.seen(id)
		if why != nil {
			return nil, why
		}
		found = append(found, i)
	}
	for _, i := range found {
		if why := q.allow(Access{Action: "ec2:CreateTags", Resource: q.arn("instance", i.ID), Keys: merged(requestTags(tags), resourceTags(i.Tags))}); why != nil {
			return nil, why
		}
	}
	if why := q.dryRun(); why != nil {
		return nil, why
	}
	for _, i := range found {
		changed := map[string]string{}
		for _, some := range []map[string]string{i.Tags, tags} {
			for name, value := range some {
				changed[name] = value
			}
		}
		i.Tags = changed
	}
	return struct {
		RequestID string `xml:"requestId"`
		Return    bool   `xml:"return"`
	}{requestID, true}, nil
}
