// Package route53fake plays the REST API of Amazon Route 53, as far as
// Understudy uses it, to Route 53's documentation: what Route 53 refuses, it
// refuses, with Route 53's error codes.
//
// A test starts it, puts records there as an operator would, points the AWS SDK
// at its URL, and asks it what the name servers answer: that follows a change
// only once the change is in sync, which takes as many looks as the test says.
// Faults make calls fail, hang, arrive although nobody hears the answer, or
// arrive late. The signature of a request is not checked, only whose key it
// names and for which service and region. The package knows nothing of testing.
package route53fake

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// Zone is the hosted zone that a server has where its options name none, ZoneName its name.
	Zone     = "Z0123456789ABC"
	ZoneName = "example.com"
	// AccessKey is the access key id that a server knows where its options name none.
	AccessKey = "AKIAFAKEFAKEFAKEFAKE"
	// Forever keeps changes pending until Propagate.
	Forever = -1
)

// Options describe an account.
type Options struct {
	// Zones that exist, names by id. Default: Zone.
	Zones map[string]string
	// Keys are the access key ids that are valid. Default: AccessKey.
	Keys []string
	// Region for which requests are signed. Default: us-east-1, as outside China and GovCloud.
	Region string
	// Pending is for how many calls of GetChange a change is pending; Forever until Propagate.
	Pending int
	// Page is how many records an answer holds at most. Default 300, the most that Route 53 gives.
	Page int
	// Allow decides what IAM would; nil allows everything. It must not call the server.
	Allow func(Access) bool
	// Seen is told of each call as it arrives, and holds it up until it returns.
	Seen func(Call)
	// Ended is told of each call once it has had its effect and its answer is known.
	Ended func(Call)
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Server is one account. It is safe for concurrent use.
type Server struct {
	options Options
	closed  chan struct{}

	mu      sync.Mutex
	zones   map[string]*zone
	keys    map[string]bool // false for those that have expired
	pending int
	changes []*change
	faults  []Fault
	calls   []Call
}

// New makes an account. Its zones hold what each zone has from the start: the
// records NS and SOA.
func New(o Options) *Server {
	if len(o.Zones) == 0 {
		o.Zones = map[string]string{Zone: ZoneName}
	}
	if len(o.Keys) == 0 {
		o.Keys = []string{AccessKey}
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.Page == 0 {
		o.Page = mostItems
	}
	if o.Seen == nil {
		o.Seen = func(Call) {}
	}
	if o.Ended == nil {
		o.Ended = func(Call) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{options: o, closed: make(chan struct{}), zones: map[string]*zone{}, keys: map[string]bool{}, pending: o.Pending}
	for id, name := range o.Zones {
		s.zones[id] = newZone(id, name)
	}
	for _, id := range o.Keys {
		s.keys[id] = true
	}
	return s
}

// Running is a server that listens on loopback.
type Running struct {
	*Server
	// URL is the endpoint.
	URL  string
	http *http.Server
	once sync.Once
}

// Start makes an account and listens at the address, such as 127.0.0.1:0.
func Start(address string, o Options) (*Running, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("start the fake Route 53: %w", err)
	}
	s := New(o)
	r := &Running{Server: s, URL: "http://" + l.Addr().String(), http: &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}}
	go func() { _ = r.http.Serve(l) }()
	return r, nil
}

// Close ends the server and what it was answering. The name servers go on.
func (r *Running) Close() {
	r.once.Do(func() { close(r.closed) })
	_ = r.http.Close()
}

// SetKey makes an access key valid.
func (s *Server) SetKey(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[id] = true
}

// Expire ends the life of an access key, as of temporary credentials.
func (s *Server) Expire(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[id] = false
}

// Pending says for how many calls of GetChange a change that is made from now on
// is pending.
func (s *Server) Pending(polls int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = polls
}
