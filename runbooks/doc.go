// Package runbooks says WHAT: the plain data that people write and the pure
// planning that is done with it.
//
// A [Runbook] describes one protected service: how it is watched, recovered,
// verified and announced. A [Site] is what holds for all services. Both are
// YAML files, read strictly by [ParseRunbook] and [ParseSite]: every mistake in
// a file is named in one go, with its line and with what is allowed instead.
// [LoadLibrary] reads a set of runbooks and finds the one an alert is about.
//
// From a runbook come the pure decisions: [NewPlan] (which tiers, in which
// order, and what each step leaves behind) and [Judge] (what a set of
// observations says about a service). They run inside workflows, so they use no
// clock, no randomness and no map order.
//
// The package imports nothing else of this project.
package runbooks
