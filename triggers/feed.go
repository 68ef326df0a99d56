package triggers

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// How often the engine is asked on behalf of everybody who listens. Each
// question costs it a workflow task, so many services are asked less often.
const (
	pulse        = 500 * time.Millisecond
	askGuards    = 2 * time.Second
	guardRate    = 25 // a second
	recoveryRate = 50 // a second
	sweepIn      = time.Minute
	// maxListeners bounds the connections; forgetAfter is how long what nobody follows is kept for those who come back.
	maxListeners = 500
	forgetAfter  = 5 * time.Minute
)

// Topics of events: a service and a recovery as lists show them, and a recovery
// in full.
const (
	topicService  = "service/"
	topicRecovery = "recovery/"
	topicReport   = "report/"
)

// everything is the topic of who listens to all services and recoveries.
const everything = ""

// feed looks at guards and recoveries while somebody listens, once for all. What
// it hands out are states, not steps: the latest one of a topic says everything
// that those before it said, so that whoever was away misses nothing.
type feed struct {
	api *API
	// boot tells the numbers of this run from those of another one.
	boot string
	done chan struct{}

	mu        sync.Mutex
	shut      bool
	listeners map[string]int // by topic
	listening int
	awake     bool
	states    map[string]*state
	last      int64
	// rounds is closed after each round, and made anew.
	rounds chan struct{}

	// sweeping is true while the services are looked at; what stands below is the sweep's own.
	sweeping               bool
	guardsAt, recoveriesAt time.Time
	// running are the ids of the recoveries that are looked at for lists; true where the guard says that it runs.
	running map[string]bool
}

// state is the latest one of a topic.
type state struct {
	number int64
	data   []byte
	// final means that it will not change any more.
	final bool
	used  time.Time
}

// event is a state on its way out.
type event struct {
	id, kind string
	data     []byte
	final    bool
	number   int64
}

func newFeed(a *API) *feed {
	return &feed{
		api: a, boot: uuid.NewString()[:8], done: make(chan struct{}), listeners: map[string]int{}, states: map[string]*state{},
		rounds: make(chan struct{}), running: map[string]bool{},
	}
}

// join begins to listen to a topic: everything, or a recovery's id. It returns
// how to leave; false where too many listen, or the end has begun.
func (f *feed) join(topic string) (leave func(), ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.shut || f.listening >= maxListeners {
		return nil, false
	}
	f.listeners[topic]++
	f.listening++
	if !f.awake {
		f.awake = true
		go f.look()
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.listening--
		if f.listeners[topic]--; f.listeners[topic] == 0 {
			delete(f.listeners, topic)
		}
	}, true
}

// close ends all streams.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.shut {
		f.shut = true
		close(f.done)
	}
}

// next is what happened to a topic after an event, oldest first, and when to ask again.
func (f *feed) next(topic string, after int64) (events []event, again <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, s := range f.states {
		if s.number <= after || !about(topic, name) {
			continue
		}
		kind, _, _ := strings.Cut(name, "/")
		if kind+"/" == topicReport {
			kind = "recovery"
		}
		events = append(events, event{id: fmt.Sprintf("%s-%d", f.boot, s.number), kind: kind, data: s.data, final: s.final, number: s.number})
		if topic != everything {
			s.used = time.Now()
		}
	}
	slices.SortFunc(events, func(x, y event) int { return int(x.number - y.number) })
	return events, f.rounds
}

// about reports whether a listener's topic takes in a state.
func about(topic, name string) bool {
	if topic == everything {
		return strings.HasPrefix(name, topicService) || strings.HasPrefix(name, topicRecovery)
	}
	return name == topicReport+topic
}

// after finds the number of an event that a listener has; 0 where it is of
// another run, and everything is told again.
func (f *feed) after(lastID string) int64 {
	boot, rest, _ := strings.Cut(lastID, "-")
	number, err := strconv.ParseInt(rest, 10, 64)
	if boot != f.boot || err != nil {
		return 0
	}
	return number
}

// note notes a recovery in full.
func (f *feed) note(detail RecoveryDetail) {
	f.set(topicReport+detail.ID, detail, !detail.Report.Ended.IsZero())
}

// set notes a state where it is a new one.
func (f *feed) set(name string, value any, final bool) {
	data, err := json.Marshal(value)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.states[name]
	if old != nil && string(old.data) == string(data) && old.final == final {
		return
	}
	f.last++
	f.states[name] = &state{number: f.last, data: data, final: final, used: time.Now()}
}
