package main

import (
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
)

// scene is one story to record.
type scene struct {
	// name is part of the names of its histories; none may be another one with a number behind.
	name, what string
	// keep are the workflows whose histories are kept; in the others nothing happens that another scene does not have.
	keep    []string
	options harness.SceneOptions
	// edit changes runbook and site file, once all parts but Understudy run.
	edit func(p *play, r *runbooks.Runbook, site *runbooks.Site)
	// act is what happens, once all parts run and the guard is at rest.
	act func(p *play)
}

// What scenes keep.
var (
	recovery     = []string{"Recovery"}
	guard        = []string{"Guard"}
	announcement = []string{"Announcement"}
	guarded      = []string{"Guard", "Recovery"}
	all          = []string{"Guard", "Recovery", "Announcement"}
	made         = []string{"Guard", "Recovery", "Budget"}
	practice     = []string{"Guard", "Recovery", "Drill", "Sweep", "Readiness"}
)

// outdated is a model version that the config center does not expect.
const outdated = "2511.9"

// scenes are all stories; what a new workflow does is recorded by a new line.
var scenes = []scene{
	{name: "hot-crash", what: "the primary crashes, the load balancer moves by itself; committed", keep: all, act: hotCrash},
	{name: "held-hang", what: "the primary hangs, the standby is held until it is proven", keep: recovery, options: harness.SceneOptions{Held: true}, act: heldHang},
	{name: "false-alarm", what: "an alert, and all is well", keep: recovery, act: falseAlarm},
	{name: "degraded", what: "the primary is slow; people are told", keep: recovery, edit: patient, act: degraded},
	{name: "disagree", what: "Understudy alone hears nothing from the primary; it holds", keep: recovery, edit: deaf, act: disagree},
	{name: "refused", what: "the standby has the wrong version, and is taken off the traffic", keep: recovery, options: harness.SceneOptions{HotVersion: outdated}, act: refused},
	{name: "undone", what: "the standby hears wrongly through the front door; what was done is undone", keep: recovery, act: undone},
	{name: "slow-look", what: "a look may take longer than a workflow task", keep: recovery, edit: slowLook, act: hotCrash},
	{name: "no-canary", what: "without a canary, the front door's health is all that counts", keep: recovery, edit: noCanary, act: hotCrash},
	{name: "resolves", what: "the alert resolves before the switch, and the primary works again", keep: guarded, options: harness.SceneOptions{Held: true}, act: resolves},
	{name: "fence-asks", what: "a required fence fails; a person has it tried again", keep: recovery, options: harness.SceneOptions{Held: true}, edit: requiredFence, act: fenceAsks},
	{name: "late-claim", what: "the epoch store is away at the switch, and comes back", keep: guarded, edit: withStore, act: lateClaim},
	{name: "superseded", what: "another Understudy has moved the service", keep: guarded, edit: withStore, act: superseded},
	{name: "long-life", what: "a guard through alerts that repeat, resolve and come late, a cooldown, a lost standby", keep: guarded, edit: windows(time.Second, 8*time.Second), act: longLife},
	{name: "lost-again", what: "the standby fails in the confirm window; back to the mended primary", keep: guarded, edit: windows(time.Minute, 2*time.Second), act: lostAgain},
	{name: "drift", what: "the load balancer brings the failed server back, and is set right", keep: guard, act: drift},
	{name: "orders", what: "people pause, resume, supersede and abort", keep: all, edit: windows(time.Minute, 2*time.Second), act: orders},
	{name: "killed", what: "Understudy is killed in a long confirm window; the guard looks after its recovery", keep: all, edit: windows(35*time.Second, 2*time.Second), act: killed},
	{name: "cold", what: "primary and hot standby are gone; a machine is made", keep: made, options: coldHeld, act: cold},
	{name: "cold-refused", what: "the model store is away; nothing is made", keep: recovery, options: coldHeld, act: coldRefused},
	{name: "cold-wrong", what: "the model has a flipped byte; what was made is taken back", keep: recovery, options: coldHeld, edit: wrongSource, act: coldFails},
	{name: "approval", what: "a person agrees to a plan before a machine is made", keep: recovery, options: coldHeld, edit: asksFirst, act: approval},
	{name: "retried", what: "a tier hangs; a person has it retried, then skipped", keep: recovery, options: coldHeld, edit: neverReady, act: retried},
	{name: "rolled-back", what: "a person rolls a provisional switch back", keep: recovery, options: harness.SceneOptions{Held: true}, edit: windows(time.Minute, 2*time.Second), act: rolledBack},
	{name: "drill", what: "a scheduled drill of the cold tier; the sweeper and the readiness look", keep: practice, options: coldHeld, edit: scheduled, act: drill},
	{name: "failback", what: "a recovery, and the planned way home", keep: guarded, options: harness.SceneOptions{Held: true}, act: failback},
	{name: "game-day", what: "the primary is stopped on purpose and started again; the way home is taken by itself", keep: guarded, edit: gameDays, act: gameDay},
	{name: "cold-data", what: "a machine is made; its model is hashed behind it, its data restored", keep: recovery, options: harness.SceneOptions{Held: true, Cold: true, History: true}, edit: sizesFirst, act: cold},
	{name: "silent-site", what: "a site falls silent; its service lives at first, then it is dead", keep: []string{"Watchdog", "Guard", "Recovery"}, edit: silent, act: silentSite},
	{name: "batch", what: "a batch goes on while its service moves", keep: []string{"Batch", "Recovery"}, options: harness.SceneOptions{Held: true, Cold: true}, edit: withBatches, act: batch},
	{name: "watchdog", what: "a watchdog that nothing happens to", keep: []string{"Watchdog"}, act: watchdog},
	{name: "chat-away", what: "the chat is away at first", keep: announcement, act: chatAway},
}

var coldHeld = harness.SceneOptions{Held: true, Cold: true}

// wrongSource names a model that is not what its manifest says.
func wrongSource(p *play, r *runbooks.Runbook, _ *runbooks.Site) {
	p.do(p.Cold.Spoil)
	r.Policy.Confirm = runbooks.Duration(time.Second)
}

func asksFirst(_ *play, r *runbooks.Runbook, _ *runbooks.Site) {
	r.Tiers[1].Approval = &runbooks.Approval{Roles: []string{"approver"}, Timeout: runbooks.Duration(time.Minute)}
}

// gameDays says how the primary is stopped and started, and brings it home soon.
func gameDays(p *play, r *runbooks.Runbook, _ *runbooks.Site) {
	url := p.power()
	r.GameDay = &runbooks.GameDay{
		Stop:  runbooks.Fence{Kind: "http", URL: url + "/stop", Confirm: &runbooks.Confirm{Kind: "tcp-closed"}},
		Start: runbooks.Fence{Kind: "http", URL: url + "/start"},
	}
	r.Policy.Failback, r.Policy.FailbackHold = "auto", runbooks.Duration(6*time.Second)
	r.Policy.Confirm, r.Policy.Cooldown = runbooks.Duration(time.Second), runbooks.Duration(time.Second)
}

func sizesFirst(_ *play, r *runbooks.Runbook, _ *runbooks.Site) {
	r.Tiers[1].Volumes[0].Verify = "size"
}

// silent gives the primary a site that is heard of every few seconds.
func silent(_ *play, r *runbooks.Runbook, site *runbooks.Site) {
	r.Primary.Site = "dc-a"
	site.Sites = []runbooks.SiteGroup{{Name: "dc-a", Watchdog: &runbooks.Watchdog{
		Match: map[string]string{"alertname": "Watchdog"}, Silence: runbooks.Duration(3 * time.Second), Action: "recover",
	}}}
}

// neverReady has the made machine answer where nobody asks.
func neverReady(p *play, r *runbooks.Runbook, _ *runbooks.Site) {
	r.Tiers[1].URL = p.pit()
}

func withBatches(_ *play, r *runbooks.Runbook, _ *runbooks.Site) {
	r.Batches = &runbooks.Batches{Store: batchStore, Concurrency: 2}
}

func scheduled(_ *play, r *runbooks.Runbook, _ *runbooks.Site) {
	r.Drill = &runbooks.Drill{Schedule: "0 3 1 1 *", Tiers: []string{runbooks.TierCold}}
}

// patient lets a slow answer come, and gives a verdict a second to change.
func patient(_ *play, r *runbooks.Runbook, _ *runbooks.Site) {
	r.Health.Timeout, r.Policy.Observe = runbooks.Duration(450*time.Millisecond), runbooks.Duration(time.Second)
}

// deaf has Understudy look for the primary where nobody answers.
func deaf(p *play, r *runbooks.Runbook, _ *runbooks.Site) {
	r.Primary.URL, r.Policy.Observe = p.pit(), runbooks.Duration(time.Second)
}

func slowLook(_ *play, r *runbooks.Runbook, _ *runbooks.Site) {
	r.Health.Timeout = runbooks.Duration(time.Second)
}

func noCanary(_ *play, r *runbooks.Runbook, _ *runbooks.Site) { r.Canary = nil }

func requiredFence(p *play, r *runbooks.Runbook, _ *runbooks.Site) {
	r.Primary.Fence = []runbooks.Fence{{Kind: "http", URL: p.powerStrip(1), Required: true, Confirm: &runbooks.Confirm{Kind: "tcp-closed"}}}
}

func withStore(p *play, r *runbooks.Runbook, site *runbooks.Site) {
	p.keepsEpochs(site)
	r.Policy.Confirm = runbooks.Duration(10 * time.Second)
}

// windows sets how long a switch is provisional, and how long the guard then rests.
func windows(confirm, cooldown time.Duration) func(*play, *runbooks.Runbook, *runbooks.Site) {
	return func(_ *play, r *runbooks.Runbook, _ *runbooks.Site) {
		r.Policy.Confirm, r.Policy.Cooldown = runbooks.Duration(confirm), runbooks.Duration(cooldown)
	}
}
