// Package compute makes, finds and removes machines: processes on a host,
// virtual machines from images.
//
// A [Provider] never makes two machines for one key, whatever gets lost on the
// way: the same call with the same key is repeated until there is an answer, and
// only what carries our tags is ever touched. The implementations are local
// (a supervised process, here or over ssh), ec2 and libvirt.
package compute

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

// Tags that every machine carries.
const (
	TagManagedBy = "managed-by" // always ManagedBy
	TagService   = "service"
	TagEpoch     = "epoch"
	TagExpires   = "expires" // RFC 3339, UTC
	TagKey       = "understudy-key"
	TagMode      = "mode" // live or drill
	TagKeep      = "keep" // stopped: the machine was prepared, not made; it is stopped, never removed

	// ModeResting is the TagMode of a prepared machine that was stopped again and waits; the key that had it is used.
	ModeResting = "resting"

	// ManagedBy is the value of TagManagedBy; nothing without it is ever removed.
	ManagedBy = "understudy"
	// MaxKey is the longest key, in characters (EC2's limit for a client token).
	MaxKey = 64
)

// Errors of providers. Each tells the workflow what to do next; what is none of
// them is ambiguous: the call may have made a machine, and must be repeated with
// the same key.
var (
	// ErrCapacity: this placement has no room; try the next one.
	ErrCapacity = errors.New("no capacity")
	// ErrQuota: the account's limit is reached; try another region, and tell a person.
	ErrQuota = errors.New("quota reached")
	// ErrRefused: the order itself is wrong or not permitted; this tier is over.
	ErrRefused = errors.New("order refused")
	// ErrCredentials: the credentials are expired or wrong; they are read again, and nothing else is consumed.
	ErrCredentials = errors.New("credentials not accepted")
	// ErrUsed: the key belongs to a machine that is gone, or to another order; only a new attempt has a new key.
	ErrUsed = errors.New("key already used")
	// ErrNone: there is no such machine. Right after a launch that proves nothing.
	ErrNone = errors.New("no such machine")
	// ErrForeign: the machine does not carry our tags; it is not touched.
	ErrForeign = errors.New("not our machine")
)

// State of a machine.
type State string

// The states.
const (
	Pending  State = "pending"  // being made
	Running  State = "running"  // its processor runs; whether its service does is another question
	Stopping State = "stopping" // on its way to stopped or gone
	Stopped  State = "stopped"  // kept, and can be started
	Gone     State = "gone"     // removed, or ended by itself
)

// Machine is one machine.
type Machine struct {
	// ID is the provider's.
	ID string `json:"id"`
	// Key is the one that it was made with.
	Key   string `json:"key"`
	State State  `json:"state"`
	// Address is where it answers, without a port; empty while not known.
	Address string `json:"address,omitempty"`
	// Where is the placement in words, such as us-west-2a g5.xlarge.
	Where string            `json:"where,omitempty"`
	Tags  map[string]string `json:"tags,omitempty"`
	Made  time.Time         `json:"made,omitzero"`
	// Detail explains the state: a reason of the cloud's, the end of a boot log.
	Detail string `json:"detail,omitempty"`
	// Price of an hour, where the runbook says one.
	Price float64 `json:"price,omitempty"`
}

// Expires is when a machine counts as forgotten; false where it does not say.
func (m Machine) Expires() (time.Time, bool) {
	at, err := time.Parse(time.RFC3339, m.Tags[TagExpires])
	return at, err == nil
}

// Ours reports whether a machine may be touched.
func (m Machine) Ours() bool { return m.Tags[TagManagedBy] == ManagedBy }

// Order is one machine to be made at one place.
type Order struct {
	// Key identifies the logical attempt; see MaxKey.
	Key     string    `json:"key"`
	Service string    `json:"service"`
	Epoch   int64     `json:"epoch"`
	Mode    string    `json:"mode"`
	Expires time.Time `json:"expires"`
	// Provision is the runbook's; Placement the one of its places that is tried.
	Provision runbooks.Provision `json:"provision"`
	Placement runbooks.Placement `json:"placement"`
	// Boot is what the machine does first: a cloud-init document, without secrets. Empty for kind local.
	Boot string `json:"boot,omitempty"`
	// Env is added to the environment of a local process.
	Env map[string]string `json:"env,omitempty"`
}

// Tags are those that the machine of an order carries.
func (o Order) Tags() map[string]string {
	return map[string]string{
		TagManagedBy: ManagedBy, TagService: o.Service, TagEpoch: fmt.Sprint(o.Epoch), TagKey: o.Key, TagMode: o.Mode,
		TagExpires: o.Expires.UTC().Format(time.RFC3339),
	}
}

// Ref finds a machine at its provider, by ID or else by Key. One with neither is
// ErrRefused: it must never come to mean all machines.
type Ref struct {
	ID        string             `json:"id,omitempty"`
	Key       string             `json:"key,omitempty"`
	Provision runbooks.Provision `json:"provision"`
	Placement runbooks.Placement `json:"placement"`
}

// Provider makes machines of one kind.
type Provider interface {
	// Check asks, without making anything, whether an order would be taken now: image and paths there, launch
	// permitted, room as far as can be known. It returns what stands in the way, wrapped in one of the errors above.
	Check(ctx context.Context, o Order) error
	// Create makes a machine, or finds the one that this key has made; two calls with one key never make two. It
	// returns as soon as the provider has taken the order, not when the machine runs. An order whose key was used
	// for something else, or whose machine is gone, is ErrUsed. A placement that names a prepared machine has that
	// one started instead, with the order's tags; one that runs already for another key is ErrCapacity.
	Create(ctx context.Context, o Order) (Machine, error)
	// Describe returns a machine as it is now, by ID or by Key, or ErrNone.
	Describe(ctx context.Context, r Ref) (Machine, error)
	// Stop stops a machine and keeps it; Start starts a stopped one, which can fail for want of capacity. Both are
	// idempotent, return when the order is taken, and refuse what is not ours.
	Stop(ctx context.Context, r Ref) error
	Start(ctx context.Context, r Ref) (Machine, error)
	// Terminate removes a machine for good, with all that was made for it. It is idempotent: what is gone is gone.
	// It refuses what is not ours. A prepared machine was not made, and is stopped instead.
	Terminate(ctx context.Context, r Ref) error
	// List returns all machines that carry our tags, also those that are stopped, at every place that the
	// provision names; of one service where that is not empty.
	List(ctx context.Context, p runbooks.Provision, service string) ([]Machine, error)
}

// Kept reports whether a machine was prepared and not made: it ends as Stopped,
// not as Gone.
func (m Machine) Kept() bool { return m.Tags[TagKeep] == "stopped" }

// Console is what a provider can do besides, where machines have a console.
type Console interface {
	// Console returns the end of what a machine has written while it booted, printable, newest last; empty where
	// there is nothing yet.
	Console(ctx context.Context, r Ref) (string, error)
}

var keyFormat = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// CheckKey refuses a key that some provider could not carry.
func CheckKey(key string) error {
	if !keyFormat.MatchString(key) {
		return fmt.Errorf("%w: the key %q must be 1 to %d letters, digits, dots, dashes or underscores", ErrRefused, key, MaxKey)
	}
	return nil
}
