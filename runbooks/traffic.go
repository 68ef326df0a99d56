package runbooks

// Traffic is the load balancer in front of a service.
type Traffic struct {
	// haproxy through its runtime sockets; nginx through an upstream file and reload; route53 through records; command for everything else (Keepalived, Consul, ...).
	Kind string `json:"kind" jsonschema:"required,enum=haproxy,enum=nginx,enum=route53,enum=command"`
	// Base URL at which clients reach the service, through the load balancer.
	Front string `json:"front" jsonschema:"required"`
	// How often the load balancer is read again while the active is not the primary; drift is set right. Default 5s.
	Reconcile Duration `json:"reconcile,omitempty"`
	// kind haproxy: admin sockets, as paths or host:port; all must agree.
	Sockets []string `json:"sockets,omitempty" kind:"haproxy!"`
	// kind haproxy: the backend's name. kind nginx: the upstream's name.
	Backend string `json:"backend,omitempty" kind:"haproxy!,nginx!"`
	// kind nginx: the upstream file, written by Understudy and included by nginx.
	File string `json:"file,omitempty" kind:"nginx!"`
	// kind nginx: the command that checks the configuration. Default nginx -t.
	Test []string `json:"test,omitempty" kind:"nginx"`
	// kind nginx: the command that reloads it. Default nginx -s reload.
	Reload []string `json:"reload,omitempty" kind:"nginx"`
	// kind nginx, command: the servers by name, with their addresses.
	Servers map[string]string `json:"servers,omitempty" kind:"nginx!,command!"`
	// kind command: program and arguments; it is called with view or apply as its last argument. No shell is involved.
	Command []string `json:"command,omitempty" kind:"command!"`
	// kind route53: hosted zone.
	Zone string `json:"zone,omitempty" kind:"route53!"`
	// kind route53: record name.
	Record string `json:"record,omitempty" kind:"route53!"`
}
