package runbooks

// Runbook describes one protected service: how it is watched, recovered,
// verified and announced.
type Runbook struct {
	// Version of this format.
	APIVersion string `json:"apiVersion" jsonschema:"required,enum=understudy/v1"`
	// Name of the service: lower-case letters, digits and dashes, at most 63. It names workflows, pages and files.
	Service string `json:"service" jsonschema:"required"`
	// What a recovery of this service should achieve; reports hold the result against it.
	Objectives Objectives `json:"objectives,omitzero"`
	// Alerts that are about this service: an alert belongs here when it carries all labels of one entry.
	Match []map[string]string `json:"match,omitempty"`
	// Where the service runs in good times.
	Primary Primary `json:"primary" jsonschema:"required"`
	// How to ask the service whether it lives.
	Health Health `json:"health,omitzero"`
	// A real inference with a known answer, sent to prove that the model works.
	Canary *Canary `json:"canary,omitempty"`
	// Which model version the service must run.
	Version *Version `json:"version,omitempty"`
	// Configuration that every standby must share (hot words, ITN rules); its hash is compared.
	Settings []Source `json:"settings,omitempty"`
	// What this and other services need in common; when one of these is down, climbing is pointless.
	Depends []Dependency `json:"depends,omitempty"`
	// The load balancer in front of the service.
	Traffic Traffic `json:"traffic" jsonschema:"required"`
	// The ladder: standbys in the order in which they are tried.
	Tiers []Tier `json:"tiers" jsonschema:"required"`
	// Data that must follow the service: a SQLite database, files.
	Data []Data `json:"data,omitempty"`
	// Where batch-transcription jobs live and how they run.
	Batches *Batches `json:"batches,omitempty"`
	// Who is told, and where.
	Notify []Notify `json:"notify,omitempty"`
	// Cooldown, confirmation, failback, limits.
	Policy Policy `json:"policy,omitzero"`
	// Active probing between alerts: seconds, not minutes, to notice a hang.
	Heartbeat *Heartbeat `json:"heartbeat,omitempty"`
	// Scheduled practice.
	Drill *Drill `json:"drill,omitempty"`
	// How the primary is really stopped, on purpose, to practise the whole chain in production with people watching.
	GameDay *GameDay `json:"game_day,omitempty"`
}

// Objectives are the recovery objectives of a service or of one tier.
type Objectives struct {
	// Recovery time: from the start of the outage to the first verified good answer through the front door.
	RTO Duration `json:"rto,omitempty"`
	// Recovery point: how much of the newest data may be lost.
	RPO Duration `json:"rpo,omitempty"`
}

// Primary is where the service runs in good times.
type Primary struct {
	// Base URL at which the primary itself answers, not the load balancer's.
	URL string `json:"url" jsonschema:"required"`
	// The primary's name at the load balancer.
	Server string `json:"server" jsonschema:"required"`
	// The site it stands in; groups services for the watchdog.
	Site string `json:"site,omitempty"`
	// The call that lets a mended primary take over the data of epoch {from}, and write below epoch {epoch} from then on: the way home needs it where data moves.
	Activate *Activate `json:"activate,omitempty"`
	// How to make sure that a failed primary can do no harm.
	Fence []Fence `json:"fence,omitempty"`
}

// Fence stops a host for certain: off the traffic is not off the data.
type Fence struct {
	// How the fence is set: by a command on this host, or by an HTTP request.
	Kind string `json:"kind" jsonschema:"required,enum=command,enum=http"`
	// kind command: program and arguments. No shell is involved.
	Command []string `json:"command,omitempty" kind:"command!"`
	// kind http: where the request goes.
	URL string `json:"url,omitempty" kind:"http!"`
	// kind http: the request's method. Default POST.
	Method string `json:"method,omitempty" kind:"http" jsonschema:"enum=POST,enum=PUT,enum=DELETE,enum=PATCH,enum=GET"`
	// kind http: request headers whose values are secrets by reference.
	Headers map[string]Secret `json:"headers,omitempty" kind:"http"`
	// kind http: the request's body, sent as it stands.
	Body string `json:"body,omitempty" kind:"http"`
	// How long the fence may take before it counts as failed. Default 30s.
	Timeout Duration `json:"timeout,omitempty"`
	// Whether a recovery must not go on without it: a failed required fence asks a person.
	Required bool `json:"required,omitempty"`
	// How it is seen from outside that the fence holds.
	Confirm *Confirm `json:"confirm,omitempty"`
}

// Confirm is how a fence is seen to hold, from outside.
type Confirm struct {
	// What must be seen: nothing accepts connections any more, the health check no longer answers, or a command says so by exit status 0.
	Kind string `json:"kind" jsonschema:"required,enum=tcp-closed,enum=http-down,enum=command"`
	// kind tcp-closed: host and port. Default: those of the fenced instance's URL.
	Address string `json:"address,omitempty" kind:"tcp-closed"`
	// kind http-down: the URL. Default: the fenced instance's health check.
	URL string `json:"url,omitempty" kind:"http-down"`
	// kind command: program and arguments. No shell is involved.
	Command []string `json:"command,omitempty" kind:"command!"`
	// How long to wait for it. Default 15s.
	Within Duration `json:"within,omitempty"`
}

// GameDay is a drill of the whole chain: the primary is really stopped.
type GameDay struct {
	// How the primary is stopped. It is confirmed from outside.
	Stop Fence `json:"stop" jsonschema:"required"`
	// How it is started again; written as a fence is, and confirmed by its health check.
	Start Fence `json:"start" jsonschema:"required"`
	// Where no standby is verified by then, everything is taken back. Default 5m.
	Limit Duration `json:"limit,omitempty"`
}

// Notify is one place where news of a service goes.
type Notify struct {
	// Which chat.
	Kind string `json:"kind" jsonschema:"required,enum=slack,enum=wecom"`
	// kind slack: channel name or id.
	Channel string `json:"channel,omitempty" kind:"slack!"`
}

// Policy says how careful to be.
type Policy struct {
	// Counted from the end of a recovery: no move back to what failed within it. Default 10m.
	Cooldown Duration `json:"cooldown,omitempty"`
	// How long a finished switch stays provisional while canaries keep passing. Default 5m.
	Confirm Duration `json:"confirm,omitempty"`
	// Time between two canaries of the confirm window. Default 15s.
	ConfirmEvery Duration `json:"confirm_every,omitempty"`
	// How long to keep looking when observers disagree or an inference holds the health check up, before a person is asked. Default 30s. Busy waits as long as health.busy says.
	Observe Duration `json:"observe,omitempty"`
	// A recovery that runs longer pages a person. Default 30m.
	Deadline Duration `json:"deadline,omitempty"`
	// What to do about a degraded service. Default page.
	Degraded string `json:"degraded,omitempty" jsonschema:"enum=page,enum=recover"`
	// Whether the way home is taken by itself. Default manual.
	Failback string `json:"failback,omitempty" jsonschema:"enum=manual,enum=auto"`
	// failback auto: how long the primary must have been well. Default 30m.
	FailbackHold Duration `json:"failback_hold,omitempty"`
	// The longest that the way home may keep the service from its users while its data moves; beyond it everything is taken back. Default 5m.
	Pause Duration `json:"pause,omitempty"`
	// Bounds on what a recovery may make.
	Limits Limits `json:"limits,omitzero"`
}

// Limits bound what recoveries of one service may make.
type Limits struct {
	// Machines that may exist at once. Default 1.
	Machines int `json:"machines,omitempty"`
	// Machines that may be made within 24 hours. Default 3.
	PerDay int `json:"per_day,omitempty"`
	// After this a machine counts as forgotten and is removed by the sweeper. Default 72h.
	TTL Duration `json:"ttl,omitempty"`
}

// Heartbeat is the active probing of the active between alerts.
type Heartbeat struct {
	// Time between two probes.
	Interval Duration `json:"interval" jsonschema:"required"`
	// Failed probes in a row before a recovery is asked for. Default 3.
	Failures int `json:"failures,omitempty"`
}

// Drill is scheduled practice.
type Drill struct {
	// When, as a cron expression with five fields.
	Schedule string `json:"schedule" jsonschema:"required"`
	// The schedule's time zone, by its IANA name. Default UTC.
	Timezone string `json:"timezone,omitempty"`
	// Which tiers are practised. Default: all that make machines.
	Tiers []string `json:"tiers,omitempty"`
	// A drill's machines end themselves after this. Default 30m.
	TTL Duration `json:"ttl,omitempty"`
}
