// Package host is the door of a host that has data of its own: a tiny server
// that takes the data over when a failback asks for it, and gives it back when
// the failback is taken back.
//
// A take-over takes as long as its data is large. Whoever asks waits a little and
// is then told to come again (503); the same question joins the work that it has
// begun. What is refused for good is 409.
package host

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// answerWithin is how long one question waits: Understudy waits ten seconds for an answer.
	answerWithin = 8 * time.Second
	// workMost bounds the work itself.
	workMost = time.Hour
	// stopWithin is how long work may go on after the end has begun. What is cut short is resumed.
	stopWithin = 20 * time.Second
)

// ErrRefused marks what no second try will change.
var ErrRefused = errors.New("refused")

// Taker takes data over and gives it back; both are idempotent for an epoch.
// An error that wraps ErrRefused is final. What it says is for people.
type Taker interface {
	TakeOver(ctx context.Context, from, epoch int64) (said string, err error)
	GiveBack(ctx context.Context, epoch int64) (said string, err error)
}

// Config is what a host's door needs.
type Config struct {
	// Listener is where it answers. It is closed at the end.
	Listener net.Listener
	Taker    Taker
	// Token must come with each order; empty where only this host can reach the door.
	Token string
	// CertFile and KeyFile let it speak TLS.
	CertFile, KeyFile string
	Log               *slog.Logger
}

// Serve answers until the context ends.
func Serve(ctx context.Context, c Config) error {
	d := &door{Config: c, life: context.WithoutCancel(ctx), works: map[string]*work{}}
	server := &http.Server{
		Handler:           d.routes(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      answerWithin + 10*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() {
		if c.CertFile != "" {
			failed <- server.ServeTLS(c.Listener, c.CertFile, c.KeyFile)
			return
		}
		failed <- server.Serve(c.Listener)
	}()
	select {
	case err := <-failed:
		return fmt.Errorf("serve the host's door: %w", err)
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(d.life, stopWithin)
	defer cancel()
	err := server.Shutdown(ending)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	return errors.Join(err, d.finish(ending))
}

// door answers questions, and keeps the work that they began.
type door struct {
	Config
	life context.Context

	mu    sync.Mutex
	works map[string]*work
}

// work is one order being carried out.
type work struct {
	began time.Time
	done  chan struct{}
	said  string
	err   error
}

func (d *door) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	mux.HandleFunc("POST /take-over", d.order(func(r *http.Request) (func(context.Context) (string, error), error) {
		epoch, err := number(r, "epoch")
		if err != nil {
			return nil, err
		}
		from, err := number(r, "from")
		if err != nil {
			return nil, err
		}
		if from >= epoch {
			return nil, fmt.Errorf("epoch %d cannot take over from epoch %d: it must be the later one", epoch, from)
		}
		return func(ctx context.Context) (string, error) { return d.Taker.TakeOver(ctx, from, epoch) }, nil
	}))
	mux.HandleFunc("POST /give-back", d.order(func(r *http.Request) (func(context.Context) (string, error), error) {
		epoch, err := number(r, "epoch")
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) (string, error) { return d.Taker.GiveBack(ctx, epoch) }, nil
	}))
	return mux
}

// order checks who asks and what for, and waits a little for the work.
func (d *door) order(read func(r *http.Request) (func(context.Context) (string, error), error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !d.allowed(r) {
			http.Error(w, "this order needs the host's token; name it in the runbook (activate.token)", http.StatusUnauthorized)
			return
		}
		do, err := read(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		job := d.begin(r.URL.Path+"?"+r.URL.RawQuery, do)
		select {
		case <-job.done:
		case <-r.Context().Done():
			return
		case <-time.After(answerWithin):
			w.Header().Set("Retry-After", "1")
			http.Error(w, fmt.Sprintf("at work since %.0f s; ask again", time.Since(job.began).Seconds()), http.StatusServiceUnavailable)
			return
		}
		switch {
		case job.err == nil:
			fmt.Fprintln(w, job.said)
		case errors.Is(job.err, ErrRefused):
			http.Error(w, job.err.Error(), http.StatusConflict)
		default:
			http.Error(w, job.err.Error(), http.StatusServiceUnavailable)
		}
	}
}

// begin starts an order's work, or joins it where it is on its way.
func (d *door) begin(name string, do func(context.Context) (string, error)) *work {
	d.mu.Lock()
	defer d.mu.Unlock()
	if job := d.works[name]; job != nil {
		return job
	}
	job := &work{began: time.Now(), done: make(chan struct{})}
	d.works[name] = job
	go func() {
		ctx, cancel := context.WithTimeout(d.life, workMost)
		defer cancel()
		job.said, job.err = do(ctx)
		d.Log.Info("an order was carried out", "order", name, "said", job.said, "error", job.err, "seconds", time.Since(job.began).Seconds())
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.works, name) // what it did is remembered by the taker
		close(job.done)
	}()
	return job
}

// finish waits for the work that is on its way.
func (d *door) finish(ctx context.Context) error {
	for {
		d.mu.Lock()
		var waiting *work
		for _, job := range d.works {
			waiting = job
		}
		d.mu.Unlock()
		if waiting == nil {
			return nil
		}
		select {
		case <-waiting.done:
		case <-ctx.Done():
			return errors.New("an order was still being carried out; it goes on when this host is started again and asked again")
		}
	}
}

func (d *door) allowed(r *http.Request) bool {
	if d.Token == "" {
		return true
	}
	given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	want, got := sha256.Sum256([]byte(d.Token)), sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

func number(r *http.Request, name string) (int64, error) {
	text := r.URL.Query().Get(name)
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s=%q is no epoch; write a number from 0", name, text)
	}
	return n, nil
}
