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
	// kind route53: id of the hosted zone, such as Z0123456789ABC.
	Zone string `json:"zone,omitempty" kind:"route53!"`
	// kind route53: name of the records. Each server has a weighted one of type A, AAAA or CNAME, with the server's name as its set identifier. They are made beforehand, with a TTL of 60 seconds or less; clients keep an old address for so long.
	Record string `json:"record,omitempty" kind:"route53!"`
	// kind route53: the server, by its set identifier, that has weight while no other has. A tier with traffic of its own names here the site that it leaves, which then comes off the traffic in the same moment, and back on it when the tier is left.
	Home string `json:"home,omitempty" kind:"route53"`
	// kind route53: region of Route 53's control plane. Only China (cn-northwest-1) and GovCloud (us-gov-west-1) need it. Default us-east-1.
	Region string `json:"region,omitempty" kind:"route53"`
}
