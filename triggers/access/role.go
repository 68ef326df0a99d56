// Package access decides who may come in and what they may do.
//
// A [Gate] stands before everything that Understudy serves. It knows a person
// by the web config file of the Prometheus exporter toolkit (TLS, users with
// bcrypt hashes), gives each the role that the site file names, and asks of
// every request a role: by method and path, so that no page that is added later
// can be forgotten. What a browser was tricked into sending is turned away.
//
// Without a web config file nobody logs in. Then Understudy listens on loopback
// only, and whoever can reach it there may do everything.
package access

import "slices"

// Role is what somebody may do.
type Role string

// The roles. An approver may do all that a responder may, a responder all that
// a viewer may; whoever may start a recovery by hand may report an alert, too.
const (
	Nobody    Role = ""          // what needs no login
	Ingest    Role = "ingest"    // deliver alerts, and nothing else
	Viewer    Role = "viewer"    // read everything, also metrics
	Responder Role = "responder" // start, stop and steer recoveries, answer what they ask
	Approver  Role = "approver"  // agree to what a runbook wants agreed to
)

var included = map[Role][]Role{
	Ingest:    {Ingest},
	Viewer:    {Viewer},
	Responder: {Responder, Viewer, Ingest},
	Approver:  {Approver, Responder, Viewer, Ingest},
}

// Includes reports whether a role may do all that another one may.
func (r Role) Includes(other Role) bool {
	return other == Nobody || slices.Contains(included[r], other)
}
