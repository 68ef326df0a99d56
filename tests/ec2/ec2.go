// Package ec2 plays the Query API of Amazon EC2, as far as Understudy uses it,
// to EC2's documentation: what EC2 refuses, it refuses, with EC2's error codes.
//
// A test or a demo starts it, points the AWS SDK at its URL, and counts what
// runs behind the client's back. One server plays all regions; the region that
// a request was signed for is the one that it means. Faults make calls fail,
// hang, arrive although nobody hears the answer, or arrive late, in one region,
// zone or for one machine type. With a launch hook an instance is a real
// process at an address of its own. The package knows nothing of testing.
package ec2

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// Account is the account that every caller belongs to.
	Account = "123456789012"
	// AccessKey and SecretKey are the credentials that a server knows where its options name none.
	AccessKey = "AKIAFAKEFAKEFAKEFAKE"
	SecretKey = "fake-secret-fake-secret-fake-secret-0000"

	// Remembered is how long a terminated instance is still described: "approximately one hour".
	Remembered = time.Hour
)

// Options describe an account.
type Options struct {
	// Regions that exist. Default: us-east-1 and us-west-2, as NewRegion makes them.
	Regions []Region
	// Profiles are the instance profiles that exist. Default: asr-dr.
	Profiles []string
	// Keys holds the secret access key by access key id. Default: AccessKey and SecretKey.
	Keys map[string]string
	// Boot is how long an instance is pending, Off how long it is stopping or shutting down.
	Boot, Off time.Duration
	// Launch starts what runs on an instance; nil starts nothing. An error is an instance that ends while it is pending.
	Launch func(Boot) (Machine, error)
	// Allow decides what IAM would; nil allows everything. It must not call the server.
	Allow func(Access) bool
	// Replay answers a client token whose instance is terminated with that instance, as EC2's guide says; without it
	// with the error IdempotentInstanceTerminated, as its list of error codes says. Clients must stand both.
	Replay bool
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Boot is an instance that starts.
type Boot struct {
	Region, Zone, ID, Image, Type string
	// Address is the private address, a loopback address of the instance's own.
	Address string
	// UserData is what the instance finds, decoded.
	UserData string
	// Profile is the instance profile; Tokens is whether IMDSv2 is required: required or optional.
	Profile, Tokens string
	Tags            map[string]string
}

// Machine is what runs on an instance.
type Machine struct {
	// Stop ends it and returns when it has ended.
	Stop func()
	// Console is what it has written so far; nil where there is nothing.
	Console func() string
	// Ended is closed when it has switched itself off; nil where it never does.
	Ended <-chan struct{}
}

// Server is one account. It is safe for concurrent use.
type Server struct {
	options Options
	closed  chan struct{}
	hooks   sync.WaitGroup

	mu      sync.Mutex
	regions map[string]*region
	keys    map[string]key
	hidden  time.Duration
	held    int
	faults  []Fault
	calls   []Call
	count   int
}

// key is an access key as the server knows it.
type key struct {
	secret  string
	expired bool
}

// New makes an account.
func New(o Options) *Server {
	if len(o.Regions) == 0 {
		o.Regions = []Region{NewRegion("us-east-1"), NewRegion("us-west-2")}
	}
	if len(o.Profiles) == 0 {
		o.Profiles = []string{"asr-dr"}
	}
	if len(o.Keys) == 0 {
		o.Keys = map[string]string{AccessKey: SecretKey}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{options: o, closed: make(chan struct{}), regions: map[string]*region{}, keys: map[string]key{}}
	for _, r := range o.Regions {
		s.regions[r.Name] = newRegion(r)
	}
	for id, secret := range o.Keys {
		s.keys[id] = key{secret: secret}
	}
	return s
}

// Running is a server that listens on loopback.
type Running struct {
	*Server
	// URL is the endpoint of every region.
	URL  string
	http *http.Server
}

// Start makes an account and listens at the address, such as 127.0.0.1:0.
func Start(address string, o Options) (*Running, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("start the fake EC2: %w", err)
	}
	s := New(o)
	r := &Running{Server: s, URL: "http://" + l.Addr().String(), http: &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}}
	go func() { _ = r.http.Serve(l) }()
	return r, nil
}

// Close ends the server, what it was answering, and what runs on its instances.
func (r *Running) Close() {
	_ = r.http.Close()
	r.Server.Close()
}

// Close ends what runs on the instances. The server answers no more.
func (s *Server) Close() {
	s.mu.Lock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	var all []*instance
	for _, r := range s.regions {
		all = append(all, r.instances...)
	}
	s.mu.Unlock()
	s.hooks.Wait()
	for _, i := range all {
		i.body.off()
	}
}

// SetKey makes an access key valid, with its secret.
func (s *Server) SetKey(id, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[id] = key{secret: secret}
}

// Expire ends the life of an access key, as of temporary credentials.
func (s *Server) Expire(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[id]
	k.expired = true
	s.keys[id] = k
}

// Hide keeps instances that are launched from now on out of every look-up for a
// while, as eventual consistency does.
func (s *Server) Hide(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidden = d
}
