package runbooks

// Names of the tiers, in the order in which a ladder usually climbs.
const (
	TierHot         = "hot"
	TierWarm        = "warm"
	TierCold        = "cold"
	TierCrossRegion = "cross-region"
)

// Tier is one rung of the ladder: a standby and what it takes to get there.
type Tier struct {
	// Which rung.
	Name string `json:"name" jsonschema:"required,enum=hot,enum=warm,enum=cold,enum=cross-region"`
	// Base URL at which the standby itself answers. {address} stands for a made machine's address.
	URL string `json:"url,omitempty"`
	// The standby's name at the load balancer.
	Server string `json:"server,omitempty"`
	// The tier must pass within this time, or the next one is tried. Default 5s hot, 60s warm, 5m otherwise.
	Within Duration `json:"within,omitempty"`
	// The standby gets no traffic before it is proven: at the load balancer it stands disabled until then. Without it the load balancer may move by itself, and is observed.
	Hold bool `json:"hold,omitempty"`
	// Objectives of this tier, where they differ.
	Objectives *Objectives `json:"objectives,omitempty"`
	// The site it stands in.
	Site string `json:"site,omitempty"`
	// How to fence this standby should it be the active one that fails.
	Fence []Fence `json:"fence,omitempty"`
	// The call that makes a resting instance serve (warm), or tells a running one that from now on it is the one that writes data (hot).
	Activate *Activate `json:"activate,omitempty"`
	// A person must agree first. Cross-region needs this unless waived.
	Approval *Approval `json:"approval,omitempty"`
	// Begin to make this standby while the tier before it is still tried.
	Prewarm bool `json:"prewarm,omitempty"`
	// How a machine is made. Without it the standby runs already.
	Provision *Provision `json:"provision,omitempty"`
	// Model volumes that the machine needs.
	Volumes []Volume `json:"volumes,omitempty"`
	// Another load balancer than the service's.
	Traffic *Traffic `json:"traffic,omitempty"`
	// Other data steps than the service's.
	Data []Data `json:"data,omitempty"`
	// Another batch store than the service's.
	Batches *Batches `json:"batches,omitempty"`
}

// Activate is the call that makes a resting instance serve.
type Activate struct {
	// Path at the standby, or URL, of the call. {epoch} stands for the epoch of the recovery, {from} for that of the data so far.
	URL string `json:"url" jsonschema:"required"`
	// The request's method. Default POST.
	Method string `json:"method,omitempty" jsonschema:"enum=POST,enum=PUT,enum=GET"`
	// The call that puts it to rest again.
	Undo string `json:"undo,omitempty"`
	// Token that both calls bear (Authorization: Bearer), by reference.
	Token Secret `json:"token,omitzero"`
}

// Approval is the agreement of a person.
type Approval struct {
	// Whose agreement counts. Default approver.
	Roles []string `json:"roles,omitempty"`
	// Without an answer by then the tier is refused: silence is never a yes. Default 10m.
	Timeout Duration `json:"timeout,omitempty"`
	// No agreement is needed. Two sites then act alone; say so only where a third one arbitrates.
	Waived bool `json:"waived,omitempty"`
}

// Provision is how a machine is made.
type Provision struct {
	// local starts a process on a host; ec2 and libvirt start a virtual machine from an image.
	Kind string `json:"kind" jsonschema:"required,enum=local,enum=ec2,enum=libvirt"`
	// Program and arguments that start the service. No shell is involved. kind ec2, libvirt: the machine runs it as a systemd unit; without command and unit the image starts its service by itself.
	Command []string `json:"command,omitempty" kind:"local!,ec2,libvirt"`
	// Extra environment of the service.
	Env map[string]string `json:"env,omitempty" kind:"local,ec2,libvirt"`
	// Directory to start in.
	Dir string `json:"dir,omitempty" kind:"local,ec2,libvirt"`
	// kind ec2, libvirt: user of the machine that runs the command. Default root.
	User string `json:"user,omitempty" kind:"ec2,libvirt"`
	// kind ec2, libvirt: systemd unit of the image that starts the service, in the place of a command. The image must not start it by itself, or it could start before its volumes are there.
	Unit string `json:"unit,omitempty" kind:"ec2,libvirt"`
	// kind local: start it on this host over ssh instead of here, as user@host.
	Host string `json:"host,omitempty" kind:"local"`
	// kind local: address at which the program answers. Default 127.0.0.1, or the host's name.
	Address string `json:"address,omitempty" kind:"local"`
	// kind local: TCP ports that must be free before the start, on every address of the host. kind libvirt: TCP ports that lead to a machine whose placement names no subnet.
	Ports []int `json:"ports,omitempty" kind:"local,libvirt"`
	// kind local: GPU memory that must be free, in MiB, on one of the cards. Asked only where nvidia-smi is installed.
	GPUMemory int `json:"gpu_memory,omitempty" kind:"local"`
	// kind local: disk that must be free, in MiB.
	Disk int `json:"disk,omitempty" kind:"local"`
	// kind ec2: instance profile of the machine.
	Profile string `json:"profile,omitempty" kind:"ec2"`
	// kind ec2: size of the root volume in GiB. Default: that of the image.
	RootSize int `json:"root_size,omitempty" kind:"ec2"`
	// kind ec2: rate, 100 to 300 MiB/s, at which the root volume is read from its snapshot ahead of use. A model in the image is slow to load without it; AWS charges for it.
	RootRate int `json:"root_rate,omitempty" kind:"ec2"`
	// kind ec2, libvirt: stopped starts prepared machines again, those that placements name as instance. What was prepared is never removed: it is stopped again. Not for services with data.
	Keep string `json:"keep,omitempty" kind:"ec2,libvirt" jsonschema:"enum=stopped"`
	// kind libvirt: connection URI, such as qemu+ssh://host/system. Default qemu:///system.
	URI string `json:"uri,omitempty" kind:"libvirt"`
	// kind libvirt: storage pool with the images, which holds the machines as well. Default understudy.
	Pool string `json:"pool,omitempty" kind:"libvirt"`
	// kind ec2, libvirt: where to try, in this order.
	Placements []Placement `json:"placements,omitempty" kind:"ec2!,libvirt!"`
	// What happens to the machine after a failback. Default terminate.
	Release string `json:"release,omitempty" jsonschema:"enum=stop,enum=terminate"`
}

// Placement is one place where a machine may be made.
type Placement struct {
	// Region, as the cloud names it.
	Region string `json:"region,omitempty"`
	// Zone within the region.
	Zone string `json:"zone,omitempty"`
	// Machine type. kind libvirt: kvm, or qemu, which emulates the processor; default what the hypervisor has.
	Type string `json:"type,omitempty"`
	// Image, by id or by name. kind ec2: a name is looked for among the account's own images of the region. kind libvirt: name@version in the pool; without a version the newest.
	Image string `json:"image,omitempty"`
	// Subnet of the machine. kind libvirt: name of a network, or bridge:NAME; without one the machine is reached through forwarded ports, on this host alone.
	Subnet string `json:"subnet,omitempty"`
	// Security groups of the machine.
	SecurityGroups []string `json:"security_groups,omitempty"`
	// kind ec2: a capacity reservation that is used first; when it is full, the same place is tried without it.
	Reservation string `json:"reservation,omitempty"`
	// A prepared machine that is started instead (keep: stopped). It must carry the tags managed-by: understudy and service.
	Instance string `json:"instance,omitempty"`
	// Price of an hour in the site's currency, for the reports.
	Price float64 `json:"price,omitempty"`
	// kind libvirt: memory in MiB.
	Memory int `json:"memory,omitempty"`
	// kind libvirt: virtual processors.
	CPUs int `json:"cpus,omitempty"`
}

// Volume is a model directory that lives in S3.
type Volume struct {
	// Where it lives: s3://bucket/prefix.
	Source string `json:"source" jsonschema:"required"`
	// Where the machine sees it.
	Mount string `json:"mount" jsonschema:"required"`
	// File within it that lists the sha256 of each file. Default MANIFEST.sha256.
	Manifest string `json:"manifest,omitempty"`
	// full hashes every byte before the start; size compares the sizes of the files, and hashes every byte beside the start
	// and the confirm window: what is wrong by then stops the switch, or is told to a person. Default full.
	Verify string `json:"verify,omitempty" jsonschema:"enum=size,enum=full"`
	// mount reads through a file system, copy downloads first. Default mount.
	Mode string `json:"mode,omitempty" jsonschema:"enum=mount,enum=copy"`
	// The service writes beside the model (FunASR with vLLM does): it gets a copy of its own.
	Writable bool `json:"writable,omitempty"`
}

// Data is something that must follow the service when it moves.
type Data struct {
	// litestream: a SQLite database. files: a directory.
	Kind string `json:"kind" jsonschema:"required,enum=litestream,enum=files"`
	// kind litestream: s3://bucket/prefix of the replica; each epoch writes below its own prefix.
	Replica string `json:"replica,omitempty" kind:"litestream!"`
	// kind files: s3://bucket/prefix of the copy.
	Bucket string `json:"bucket,omitempty" kind:"files!"`
	// The database file or the directory, as the standby sees it.
	Path string `json:"path" jsonschema:"required"`
	// More lag than this is told before the switch.
	MaxLag Duration `json:"max_lag,omitempty"`
	// kind litestream: a query that must succeed on the restored database.
	Check string `json:"check,omitempty" kind:"litestream"`
}

// Batches says where batch-transcription jobs live and how they run.
type Batches struct {
	// s3://bucket/prefix of the jobs.
	Store string `json:"store" jsonschema:"required"`
	// Requests in flight at once. Default 4.
	Concurrency int `json:"concurrency,omitempty"`
	// Longer audio is cut into pieces of this length. Default 9m.
	Chunk Duration `json:"chunk,omitempty"`
	// An item that failed this often is quarantined. Default 3.
	Attempts int `json:"attempts,omitempty"`
	// What to do with a half-done job when the standby runs another model version. Default finish-old.
	OnModelChange string `json:"on_model_change,omitempty" jsonschema:"enum=finish-old,enum=restart,enum=mix-and-mark"`
}
