package runbooks

import (
	"maps"
	"slices"
)

// Site is the file understudy.yaml: what holds for all services.
type Site struct {
	// Version of this format.
	APIVersion string `json:"apiVersion" jsonschema:"required,enum=understudy/v1"`
	// Runbook files, or directories that hold them; relative paths start at the site file.
	Runbooks []string `json:"runbooks,omitempty"`
	// Where Understudy listens.
	Listen Listen `json:"listen,omitzero"`
	// Where the embedded engine keeps its file, and reports go without a store. Default ./understudy-data.
	DataDir string `json:"data_dir,omitempty"`
	// S3 endpoints by name; the one called default serves every bucket that no other names.
	S3 map[string]S3 `json:"s3,omitempty"`
	// How AWS is reached, for machines and names there.
	AWS AWS `json:"aws,omitzero"`
	// Where epochs are written, outside Temporal. Without it two Understudys on one service cannot see each other.
	Epochs *EpochStore `json:"epochs,omitempty"`
	// Where reports are written as well: s3://bucket/prefix. They are always on disk.
	Reports string `json:"reports,omitempty"`
	// The config center that runbooks use where they name no endpoint.
	ConfigCenter string `json:"config_center,omitempty"`
	// Groups of machines that fail together.
	Sites []SiteGroup `json:"sites,omitempty"`
	// Machines that look at services from elsewhere.
	Witnesses []Witness `json:"witnesses,omitempty"`
	// Tokens of the chats.
	Chat Chat `json:"chat,omitzero"`
	// Who may do what: role by user name of the web config file.
	Users []User `json:"users,omitempty"`
	// Bounds over all services.
	Budgets Budgets `json:"budgets,omitzero"`
	// Addresses under which people reach the pages, for links in chat.
	Links Links `json:"links,omitzero"`
	// Called every minute while Understudy is well: an outbound dead-man ping.
	Ping string `json:"ping,omitempty"`
}

// Secrets are all references to secrets that the file names, each once.
func (s Site) Secrets() []Secret {
	all := []Secret{s.AWS.AccessKey, s.AWS.SecretKey, s.AWS.SessionToken}
	for _, name := range slices.Sorted(maps.Keys(s.S3)) {
		all = append(all, s.S3[name].AccessKey, s.S3[name].SecretKey)
	}
	if s.Epochs != nil {
		all = append(all, s.Epochs.Password)
	}
	for _, w := range s.Witnesses {
		all = append(all, w.Key)
	}
	if c := s.Chat.Slack; c != nil {
		all = append(all, c.Token, c.SigningSecret, c.AppToken)
	}
	if c := s.Chat.WeCom; c != nil {
		all = append(all, c.Key)
	}
	var each []Secret
	for _, one := range all {
		if !one.IsZero() && !slices.Contains(each, one) {
			each = append(each, one)
		}
	}
	return each
}

// Listen is where Understudy listens, as host:port.
type Listen struct {
	// Alerts, API, console, metrics. Default 127.0.0.1:8400.
	API string `json:"api,omitempty"`
	// gRPC of the embedded engine. Default 127.0.0.1:7233.
	Temporal string `json:"temporal,omitempty"`
	// Web UI of the embedded engine. Default 127.0.0.1:8233.
	UI string `json:"ui,omitempty"`
	// TLS and users, in the file format of the Prometheus exporter toolkit.
	WebConfig string `json:"web_config,omitempty"`
	// Lets people cancel and terminate workflows in the Temporal UI. Default no.
	UIWriteActions bool `json:"ui_write_actions,omitempty"`
}

// S3 is one S3 endpoint.
type S3 struct {
	// URL of the endpoint. Default: AWS.
	Endpoint string `json:"endpoint,omitempty"`
	// Region. Default: that of the environment, else us-east-1.
	Region string `json:"region,omitempty"`
	// Buckets that this endpoint serves.
	Buckets []string `json:"buckets,omitempty"`
	// Put the bucket into the path instead of the host name, as MinIO wants it.
	PathStyle bool `json:"path_style,omitempty"`
	// Access key id, by reference. Default: the AWS SDK's usual sources.
	AccessKey Secret `json:"access_key,omitzero"`
	// Secret access key, by reference.
	SecretKey Secret `json:"secret_key,omitzero"`
	// How machines that are made from images sign their requests here: role (that of the machine), anonymous, or the path of a credentials file on the image, in the format of the AWS tools. Default role.
	Machines string `json:"machines,omitempty"`
	// URL of the endpoint as machines that are made from images reach it, where that is another one. Default: endpoint.
	MachineEndpoint string `json:"machine_endpoint,omitempty"`
}

// AWS is how AWS is reached. Without any key, the AWS SDK's usual sources are
// asked: environment, shared files, the role of the machine.
type AWS struct {
	// Access key id, by reference.
	AccessKey Secret `json:"access_key,omitzero"`
	// Secret access key, by reference.
	SecretKey Secret `json:"secret_key,omitzero"`
	// Session token of temporary credentials, by reference.
	SessionToken Secret `json:"session_token,omitzero"`
	// Profile of the shared configuration files, in the place of keys.
	Profile string `json:"profile,omitempty"`
	// Other endpoints than AWS's own, by service, such as ec2: for private endpoints and for tests. {region} stands for the region.
	Endpoints map[string]string `json:"endpoints,omitempty"`
}

// EpochStore is where epochs are written, outside Temporal.
type EpochStore struct {
	// s3 needs a store with conditional writes; etcd uses transactions.
	Kind string `json:"kind" jsonschema:"required,enum=s3,enum=etcd"`
	// kind s3: s3://bucket/prefix.
	URL string `json:"url,omitempty" kind:"s3!"`
	// kind etcd: the servers' URLs.
	Endpoints []string `json:"endpoints,omitempty" kind:"etcd!"`
	// kind etcd: prefix of the keys. Default understudy/epochs/.
	Prefix string `json:"prefix,omitempty" kind:"etcd"`
	// kind etcd: user name.
	User string `json:"user,omitempty" kind:"etcd"`
	// kind etcd: password, by reference.
	Password Secret `json:"password,omitzero" kind:"etcd"`
	// How long a switch to a running standby waits for the store; without an answer by then it goes on without it. Default 250ms, at most 3s.
	Patience Duration `json:"patience,omitempty"`
}

// SiteGroup is a group of machines that fail together: a room, a region.
type SiteGroup struct {
	// What runbooks call it.
	Name string `json:"name" jsonschema:"required"`
	// The dead-man's switch of the site.
	Watchdog *Watchdog `json:"watchdog,omitempty"`
}

// Watchdog is the dead-man's switch of a site.
type Watchdog struct {
	// Alerts that are the site's sign of life: all labels must be there.
	Match map[string]string `json:"match" jsonschema:"required"`
	// After so long without one, the site's services are looked at.
	Silence Duration `json:"silence" jsonschema:"required"`
	// What to do about services that are then found dead. Default page.
	Action string `json:"action,omitempty" jsonschema:"enum=page,enum=recover"`
}

// Witness is a machine that looks at services from elsewhere.
type Witness struct {
	// What people call it.
	Name string `json:"name" jsonschema:"required"`
	// Where it answers.
	URL string `json:"url" jsonschema:"required"`
	// Key that signs the requests, by reference.
	Key Secret `json:"key,omitzero"`
	// The site it stands in.
	Site string `json:"site,omitempty"`
}

// Chat holds the credentials of the chats.
type Chat struct {
	// Slack.
	Slack *Slack `json:"slack,omitempty"`
	// WeCom group robots.
	WeCom *WeCom `json:"wecom,omitempty"`
}

// Slack is how Slack is reached.
type Slack struct {
	// Bot token (xoxb-...), by reference.
	Token Secret `json:"token" jsonschema:"required"`
	// Signing secret of the app, for buttons, by reference.
	SigningSecret Secret `json:"signing_secret,omitzero"`
	// App token (xapp-...) for Socket Mode, by reference.
	AppToken Secret `json:"app_token,omitzero"`
	// Another API than Slack's own, for tests.
	APIURL string `json:"api_url,omitempty"`
}

// WeCom is how a WeCom group robot is reached.
type WeCom struct {
	// The robot's key, by reference.
	Key Secret `json:"key" jsonschema:"required"`
	// Another API than WeCom's own, for tests.
	APIURL string `json:"api_url,omitempty"`
}

// User maps a user of the web config file to a role.
type User struct {
	// Name in the web config file.
	Name string `json:"name" jsonschema:"required"`
	// ingest may only deliver alerts; viewer reads; responder acts; approver agrees.
	Role string `json:"role" jsonschema:"required,enum=ingest,enum=viewer,enum=responder,enum=approver"`
	// The same person in Slack, by member id.
	Slack string `json:"slack,omitempty"`
}

// Budgets bound what Understudy may do over all services.
type Budgets struct {
	// Switches to a running standby within a minute. Default 20.
	HotPerMinute int `json:"hot_per_minute,omitempty"`
	// Machines that may be in the making at once. Default 3.
	MachinesInFlight int `json:"machines_in_flight,omitempty"`
	// Machines that may be made within 24 hours. Default 10.
	MachinesPerDay int `json:"machines_per_day,omitempty"`
}

// Links are the addresses under which people reach the pages.
type Links struct {
	// The console. Default: http:// and the API's address.
	Console string `json:"console,omitempty"`
	// The Temporal UI. Default: http:// and the UI's address.
	Temporal string `json:"temporal,omitempty"`
}
