// Package slackin is where decisions come in from Slack: somebody presses a
// button below a recovery's message, and the recovery hears of it.
//
// A click comes as a signed request to POST /slack/interactive, or over a socket
// that Understudy has opened itself (Socket Mode), where no address of ours can be
// reached from outside. Either way it is acknowledged first, within the three
// seconds that Slack gives, and acted upon after. Who has clicked is looked up in
// the site file: a Slack account that no user of it names may do nothing. What
// the click asks for, in which recovery and on which plan, is in the button; the
// recovery itself decides whether that still counts, and exactly one decision does.
//
// When it does, the buttons vanish and the message says who decided and when.
// When it does not, the one who clicked is told why, and nobody else.
package slackin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-dr/understudy/activities/chat"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// decideWithin bounds how long a decision may take to be handed over; people wait for it.
	decideWithin = 20 * time.Second
	// tellWithin bounds how long it is tried to show what became of it.
	tellWithin = 30 * time.Second
	// atOnce clicks are acted upon at once, and so many more wait; beyond that Slack shows people that it did not work.
	atOnce, inLine = 16, 256
)

// Decision is what one person has decided.
type Decision struct {
	// ID names the click: the same one twice is one decision.
	ID string
	// Recovery is its id, such as fun-asr-7.
	Recovery string
	// Question, Plan and Answer are those of the button, for an answer. Plan is the hash of the plan that was shown.
	Question, Plan, Answer string
	// By is the person's name in the site file, Role what they may do.
	By, Role string
	// From names the Slack account that has clicked, for the audit.
	From string
	// Reason says where the decision comes from.
	Reason string
}

// Decider hands decisions to recoveries. Each method returns which state the
// decision leaves, or, as an error in one sentence for the person, why it does
// not count: it is not theirs to make, somebody was faster, the plan has changed.
// It is idempotent for the decision's ID.
type Decider interface {
	Answer(ctx context.Context, d Decision) (left string, err error)
	Commit(ctx context.Context, d Decision) (left string, err error)
	Rollback(ctx context.Context, d Decision) (left string, err error)
	Abort(ctx context.Context, d Decision) (left string, err error)
}

// Chat shows people what became of their clicks.
type Chat interface {
	// Decided shows in a message that a choice was made: what it settles vanishes, one line tells who and when.
	Decided(ctx context.Context, ref chat.Ref, done chat.Choice, line string) error
	// Whisper tells something to one person in a channel; nobody else sees it.
	Whisper(ctx context.Context, channel, user, text string) error
}

// Config is what clicks need.
type Config struct {
	Decider Decider
	Chat    Chat
	// Users are those of the site file; two with one Slack account are an error.
	Users []runbooks.User
	// SigningSecret of the app proves requests; without it none is taken, and Socket Mode is the only way.
	SigningSecret string
	Log           *slog.Logger
	Metrics       prometheus.Registerer
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Clicks takes clicks in. It is safe for concurrent use.
type Clicks struct {
	Config
	people  map[string]runbooks.User
	seen    *seen
	line    chan click
	working sync.WaitGroup
	stop    context.CancelFunc

	mu     sync.Mutex
	closed bool

	results *prometheus.CounterVec
	socket  prometheus.Gauge
}

// New makes a desk for clicks and begins to work. Close ends it.
func New(c Config) (*Clicks, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	k := &Clicks{
		Config: c, people: map[string]runbooks.User{}, seen: newSeen(), line: make(chan click, inLine),
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "understudy_slack_clicks_total",
			Help: "Clicks on buttons in Slack, by what became of them: decided, refused, repeated, unsigned, foreign, crowded.",
		}, []string{"result"}),
		socket: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "understudy_slack_socket_connected", Help: "1 while a socket to Slack is open (Socket Mode).",
		}),
	}
	for _, u := range c.Users {
		if u.Slack == "" {
			continue
		}
		if other, ok := k.people[u.Slack]; ok {
			return nil, fmt.Errorf("users %s and %s have the same Slack account %s; one person, one role", other.Name, u.Name, u.Slack)
		}
		k.people[u.Slack] = u
	}
	if c.Metrics != nil {
		if err := errors.Join(c.Metrics.Register(k.results), c.Metrics.Register(k.socket)); err != nil {
			return nil, fmt.Errorf("register the metrics of Slack's buttons: %w", err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	k.stop = stop
	for range atOnce {
		k.working.Go(func() {
			for c := range k.line {
				k.act(ctx, c)
			}
		})
	}
	return k, nil
}

// Close takes no more clicks, and waits for those that were acknowledged until
// the context ends; then it breaks them off.
func (k *Clicks) Close(ctx context.Context) {
	k.mu.Lock()
	if !k.closed {
		k.closed = true
		close(k.line)
	}
	k.mu.Unlock()
	done := make(chan struct{})
	go func() { k.working.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
	k.stop()
	<-done
}

// enqueue puts a click in line; false where there is no room, or no time any more.
func (k *Clicks) enqueue(c click) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return false
	}
	select {
	case k.line <- c:
		return true
	default:
		return false
	}
}
