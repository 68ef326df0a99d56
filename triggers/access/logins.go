package access

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const (
	// rereadEvery is how often it is looked whether the web config file has changed.
	rereadEvery = time.Second
	// hashesAtOnce bounds what strangers can make this host compute: a hash takes a tenth of a second of one core.
	hashesAtOnce = 1
	// maxKnown bounds the memory of passwords that were right.
	maxKnown = 1024
)

// errTooMany means that too many logins have failed lately.
var errTooMany = errors.New("too many failed logins")

// logins knows passwords. The file is read again when it changes; one that
// cannot be used is told once, and the old one stays.
type logins struct {
	path string
	log  *slog.Logger

	mu     sync.Mutex
	config webConfig
	looked time.Time
	broken stamp
	// known are keyed hashes of user, hash and password that were right: a person who was let in is not slowed down by
	// strangers who guess, nor by the hash.
	known map[[32]byte]bool

	secret [32]byte
	// decoy is compared with where there is no such user, so that the time of the answer does not tell.
	decoy    []byte
	hashing  chan struct{}
	failures *failures
}

func newLogins(path string, config webConfig, log *slog.Logger) (*logins, error) {
	l := &logins{path: path, config: config, log: log, looked: time.Now(), known: map[[32]byte]bool{}, hashing: make(chan struct{}, hashesAtOnce), failures: newFailures()}
	_, _ = rand.Read(l.secret[:]) // never fails: package crypto/rand
	cost := bcrypt.MinCost
	for _, hash := range config.Users {
		of, err := bcrypt.Cost([]byte(hash))
		if err != nil {
			return nil, err
		}
		cost = max(cost, of)
	}
	var err error
	l.decoy, err = bcrypt.GenerateFromPassword(l.secret[:], cost)
	return l, err
}

// check reports whether a password is right. It returns errTooMany, without
// looking, after too many wrong ones from the same place.
func (l *logins) check(ctx context.Context, name, password, from string) (bool, error) {
	hash, exists := l.hash(name)
	key := l.key(name, hash, password)
	if l.knows(key) {
		return true, nil
	}
	if l.failures.full(name, from, time.Now()) {
		return false, errTooMany
	}
	select {
	case l.hashing <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-l.hashing }()
	if l.knows(key) { // meanwhile, by a request beside this one
		return true, nil
	}
	if !l.failures.take(name, from, time.Now()) {
		return false, errTooMany
	}
	err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password))
	if err != nil || !exists {
		return false, nil
	}
	l.failures.giveBack(name, from, time.Now())
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) >= maxKnown {
		clear(l.known)
	}
	l.known[key] = true
	return true, nil
}

func (l *logins) knows(key [32]byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known[key]
}

func (l *logins) hash(name string) (hash string, exists bool) {
	c := l.current()
	text, exists := c.Users[name]
	if !exists {
		return string(l.decoy), false
	}
	return string(text), true
}

// key names a login without holding its password.
func (l *logins) key(parts ...string) (key [32]byte) {
	mac := hmac.New(sha256.New, l.secret[:])
	for _, part := range parts {
		_ = binary.Write(mac, binary.BigEndian, int64(len(part)))
		mac.Write([]byte(part))
	}
	mac.Sum(key[:0])
	return key
}

// current is the web config as the file has it now.
func (l *logins) current() webConfig {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.looked) < rereadEvery {
		return l.config
	}
	l.looked = time.Now()
	now, err := stampOf(l.path)
	if err == nil && (now == l.config.stamp || now == l.broken) {
		return l.config
	}
	config, err := readWebConfig(l.path)
	if err != nil || len(config.Users) == 0 {
		l.broken = now
		l.log.Error("the web config file cannot be used; the old one stays", "file", l.path, "error", err)
		return l.config
	}
	l.config = config
	l.log.Info("the web config file was read again", "file", l.path, "users", len(config.Users))
	return l.config
}
