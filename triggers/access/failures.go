package access

import (
	"net/netip"
	"sync"
	"time"
)

// How many logins may fail before the next ones are turned away, and how soon
// they may be tried again. The first bound is for one name from one address: a
// person mistypes a few times, a program guesses thousands. The second is for
// all names from one address, and lets an office share it.
const (
	failuresOfName    = 10
	failuresOfAddress = 100
	forgiveName       = 6 * time.Second
	forgiveAddress    = time.Second
	// maxPlaces bounds the memory of who has failed.
	maxPlaces = 10_000
)

// failures counts failed logins, and forgets them as time passes.
type failures struct {
	mu     sync.Mutex
	places map[string]*bucket
}

// bucket fills with failures and leaks.
type bucket struct {
	level float64
	at    time.Time
}

func newFailures() *failures { return &failures{places: map[string]*bucket{}} }

// full reports whether there were too many.
func (f *failures) full(name, from string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _, full := f.look(name, from, now)
	return full
}

// take counts a try as failed, until it is given back. It returns false where
// there were too many.
func (f *failures) take(name, from string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	all, one, full := f.look(name, from, now)
	if full {
		return false
	}
	all.level++
	one.level++
	return true
}

func (f *failures) look(name, from string, now time.Time) (all, one *bucket, full bool) {
	place := placeOf(from)
	all, one = f.bucket(place, forgiveAddress, now), f.bucket(place+" "+name, forgiveName, now)
	return all, one, all.level+1 > failuresOfAddress || one.level+1 > failuresOfName
}

// giveBack takes back the failure of a try that was right.
func (f *failures) giveBack(name, from string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	place := placeOf(from)
	f.bucket(place, forgiveAddress, now).level--
	delete(f.places, place+" "+name) // a person who knows the password has mistyped before
}

func (f *failures) bucket(key string, forgive time.Duration, now time.Time) *bucket {
	b := f.places[key]
	if b == nil {
		f.makeRoom()
		b = &bucket{at: now}
		f.places[key] = b
	}
	b.level = max(0, b.level-float64(now.Sub(b.at))/float64(forgive))
	b.at = now
	return b
}

// makeRoom forgets some place where there are too many: whoever has so many
// addresses cannot be bounded by them.
func (f *failures) makeRoom() {
	for key := range f.places {
		if len(f.places) < maxPlaces {
			return
		}
		delete(f.places, key)
	}
}

// placeOf is what one stranger cannot easily change: an IPv4 address, or the
// network of an IPv6 one.
func placeOf(from string) string {
	address, err := netip.ParseAddr(from)
	if err != nil || address.Unmap().Is4() {
		return from
	}
	network, err := address.Prefix(64)
	if err != nil {
		return from
	}
	return network.String()
}
