// Package workflows says WHEN: the deterministic stories of Understudy.
//
// A [Guard] per service owns its lock, its active, cooldown, suppression and
// pause; it hears alerts and people, decides with a pure function ([Decide]),
// and starts a [Recovery] for each outage. A recovery diagnoses, climbs the
// ladder, cuts over, verifies, fences and settles; it reads as numbered steps in
// recovery.go. An [Announcement] tells people, and delays nobody.
//
// Workflows refer to activities by method value on a nil *activities.Activities.
// All looks at the world that take less than a second are local activities;
// every change is a regular one, so that what was seen is in the history before
// anything is done about it. Every timeout and retry stands in options.go, with
// its reason.
package workflows
