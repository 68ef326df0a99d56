package ec2

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// States of an instance, with EC2's codes.
const (
	pending      = "pending"
	running      = "running"
	shuttingDown = "shutting-down"
	terminated   = "terminated"
	stopping     = "stopping"
	stopped      = "stopped"
)

var stateCodes = map[string]int{pending: 0, running: 16, shuttingDown: 32, terminated: 48, stopping: 64, stopped: 80}

// Instance is an instance as a test sees it, behind the client's back.
type Instance struct {
	ID, Region, Zone, Type, Image, Subnet, Profile string
	Address, Token, UserData, State                string
	// Reason is why it is in that state: code and message.
	Reason, Message string
	Groups          []string
	Tags            map[string]string
	Volumes         []Volume
	VolumeTags      map[string]string
	InterfaceTags   map[string]string
	PublicAddress   bool
	// Tokens is whether IMDSv2 is required: required or optional.
	Tokens      string
	Reservation string
	Launched    time.Time
}

// instance is one in operation.
type instance struct {
	Instance
	boot, off time.Duration
	// until is when the state pending, stopping or shutting-down ends.
	until time.Time
	// visible is from when on it is found.
	visible time.Time
	// ended is when it was terminated.
	ended time.Time
	body  *body
}

// advance lets time pass for all instances of a region.
func (r *region) advance(now time.Time) {
	for _, i := range r.instances {
		if i.State == pending && i.body.failure() != nil {
			i.shutDown(now, "Server.InternalError", "Server.InternalError: "+i.body.failure().Error())
		}
		if i.alive() && i.body.ended() {
			// EC2's default for an instance that shuts itself down is to stop it.
			i.State, i.until = stopping, now.Add(i.off)
			i.Reason, i.Message = "Client.InstanceInitiatedShutdown", "Client.InstanceInitiatedShutdown: Instance initiated shutdown"
		}
		next := map[string]string{pending: running, stopping: stopped, shuttingDown: terminated}[i.State]
		if next == "" || now.Before(i.until) || next != running && i.body.leaving.Load() {
			continue
		}
		i.State = next
		if next == terminated {
			i.ended, i.Address = now, ""
		}
	}
	r.instances = slices.DeleteFunc(r.instances, func(i *instance) bool {
		return i.State == terminated && now.Sub(i.ended) > Remembered
	})
}

// turnOn starts what runs on an instance, beside the server.
func (q *request) turnOn(i *instance) {
	i.State, i.until, i.Reason, i.Message = pending, q.now.Add(i.boot), "", ""
	b := &body{}
	i.body = b
	if q.s.options.Launch == nil {
		return
	}
	boot := Boot{
		Region: i.Region, Zone: i.Zone, ID: i.ID, Image: i.Image, Type: i.Type, Address: i.Address, UserData: i.UserData,
		Profile: i.Profile, Tokens: i.Tokens, Tags: maps.Clone(i.Tags),
	}
	q.s.hooks.Go(func() { b.on(q.s.options.Launch(boot)) })
}

// turnOff stops what runs on an instance, beside the server.
func (q *request) turnOff(i *instance, state, code, message string) {
	i.State, i.until, i.Reason, i.Message = state, q.now.Add(i.off), code, message
	b := i.body
	b.leaving.Store(true)
	q.s.hooks.Go(func() {
		b.off()
		b.leaving.Store(false)
	})
}

// shutDown is the end of an instance that nobody asked for.
func (i *instance) shutDown(now time.Time, code, message string) {
	i.State, i.until, i.Reason, i.Message = shuttingDown, now.Add(i.off), code, message
}

func (i *instance) alive() bool { return i.State == pending || i.State == running }

// Instances are those of a region that are still remembered.
func (s *Server) Instances(regionName string) []Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.regions[regionName]
	r.advance(s.options.Now())
	var all []Instance
	for _, i := range r.instances {
		seen := i.Instance
		seen.Tags = maps.Clone(i.Tags)
		all = append(all, seen)
	}
	return all
}

// Alive are the instances of all regions that run or are on their way to it.
func (s *Server) Alive() []Instance {
	var all []Instance
	for _, r := range s.options.Regions {
		for _, i := range s.Instances(r.Name) {
			if i.State == pending || i.State == running {
				all = append(all, i)
			}
		}
	}
	return all
}

// Put makes an instance that somebody else has launched; its empty fields get
// values. It returns the id.
func (s *Server) Put(i Instance) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.regions[i.Region]
	if i.ID == "" {
		i.ID = s.next("i")
	}
	if i.Zone == "" {
		i.Zone = r.Zones[0]
	}
	if i.State == "" {
		i.State = running
	}
	i.Address, i.Launched = s.address(), s.options.Now()
	r.instances = append(r.instances, &instance{Instance: i, boot: s.options.Boot, off: s.options.Off, body: &body{}})
	return i.ID
}

// Exit ends an instance from inside, by a shutdown for which it was launched to
// be terminated.
func (s *Server) Exit(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.options.Now()
	for _, r := range s.regions {
		if i := r.find(id); i != nil && i.alive() {
			q := &request{s: s, r: r, now: now}
			q.turnOff(i, shuttingDown, "Client.InstanceInitiatedShutdown", "Client.InstanceInitiatedShutdown: Instance initiated shutdown")
			return nil
		}
	}
	return fmt.Errorf("no instance %s is alive", id)
}

func (r *region) find(id string) *instance {
	for _, i := range r.instances {
		if i.ID == id {
			return i
		}
	}
	return nil
}

// address gives each instance a loopback address of its own, 127.1.x.y.
func (s *Server) address() string {
	s.count++
	return fmt.Sprintf("127.1.%d.%d", s.count/250%250, s.count%250+1)
}

// body is what runs on an instance. It can be turned off while it is still being turned on.
type body struct {
	mu      sync.Mutex
	machine Machine
	err     error
	isOff   bool
	// leaving is true while it is being turned off: until then the instance is neither stopped nor terminated.
	leaving atomic.Bool
}

func (b *body) on(m Machine, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	if b.isOff && err == nil && m.Stop != nil {
		m.Stop()
		return
	}
	b.machine = m
}

func (b *body) off() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.isOff && b.machine.Stop != nil {
		b.machine.Stop()
	}
	b.isOff = true
}

func (b *body) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// ended reports whether what runs has switched itself off.
func (b *body) ended() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.machine.Ended:
		return !b.isOff
	default:
		return false
	}
}

func (b *body) console() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.machine.Console == nil {
		return ""
	}
	return b.machine.Console()
}
