package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/activities/replica"
	replicafiles "github.com/understudy-dr/understudy/activities/replica/files"
	"github.com/understudy-dr/understudy/activities/replica/home"
	"github.com/understudy-dr/understudy/activities/replica/litestream"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/secrets"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers/host"
)

// syncAgain is the wait before a directory that could not be replicated is tried again.
const syncAgain = 5 * time.Second

// HostConfig is what a host with data needs.
type HostConfig struct {
	// Listen is where it answers, as host:port.
	Listen string
	// Token must come with each order. It may be missing only where the address is a loopback one.
	Token runbooks.Secret
	// CertFile and KeyFile let it speak TLS.
	CertFile, KeyFile string
	Runbook           runbooks.Runbook
	// Tier is whose data it is: the primary's, or a tier's.
	Tier string
	// Paths replace those of the runbook's data, in its order.
	Paths []string
	S3    map[string]runbooks.S3
	// InPlace says that the data here follows by itself, as that of a hot standby does.
	InPlace bool
	// Stop and Start stop and start the service with all that writes and replicates its data, but for data of kind
	// files, which this host replicates itself.
	Stop, Start []string
	// State is the directory that remembers what was taken over.
	State string
	Log   *slog.Logger
	// Ready is called once it answers, with its address.
	Ready func(address string)
}

// Host takes data over when a failback asks, until the context ends.
func Host(ctx context.Context, c HostConfig) error {
	if _, ok := c.Runbook.TargetNamed(c.Tier); !ok {
		return fmt.Errorf("the runbook of %s has no tier %q; name primary, or one of its tiers", c.Runbook.Service, c.Tier)
	}
	data := slices.Clone(c.Runbook.DataOf(c.Tier))
	if len(c.Paths) > 0 && len(c.Paths) != len(data) {
		return fmt.Errorf("%d paths were given, and the runbook has %d pieces of data; name all or none", len(c.Paths), len(data))
	}
	for i, path := range c.Paths {
		data[i].Path = path
	}
	token := ""
	if c.Token.IsZero() {
		if name, _, err := net.SplitHostPort(c.Listen); err != nil || !net.ParseIP(name).IsLoopback() {
			return errors.New("whoever reaches this door can stop the service: beyond loopback it needs a token (--token-file or --token-env)")
		}
	} else {
		var err error
		if token, err = secrets.Resolve(c.Token); err != nil {
			return fmt.Errorf("the host's token: %w", err)
		}
	}
	objects := s3client.New(c.S3)
	restored := filepath.Join(c.State, "restored")
	programs := &home.Commands{StopBy: c.Stop, StartBy: c.Start, Env: filepath.Join(c.State, c.Runbook.Service+".env"), Service: c.Runbook.Service}
	syncers := &syncedFiles{programs: programs, data: data, objects: objects, log: c.Log, life: ctx}
	defer syncers.stop()
	h, err := home.New(home.Config{
		Service: c.Runbook.Service, Data: data, InPlace: c.InPlace, Programs: syncers, State: filepath.Join(c.State, c.Runbook.Service+".json"),
		Replicas: map[string]replica.Replica{
			"litestream": litestream.New(litestream.Config{Clients: objects, State: restored}),
			"files":      replicafiles.New(replicafiles.Config{Clients: objects, State: restored}),
		},
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w; stop what uses the port, or choose another one with --listen", c.Listen, err)
	}
	if err := h.Resume(ctx); err != nil {
		_ = listener.Close()
		return fmt.Errorf("go on where this host was: %w", err)
	}
	c.Log.Info("the host is ready", "address", listener.Addr().String())
	if c.Ready != nil {
		c.Ready(listener.Addr().String())
	}
	return host.Serve(ctx, host.Config{Listener: listener, Taker: taker{h}, Token: token, CertFile: c.CertFile, KeyFile: c.KeyFile, Log: c.Log})
}

// taker says what a host did as its door tells it.
type taker struct{ *home.Host }

func (t taker) TakeOver(ctx context.Context, from, epoch int64) (string, error) {
	done, err := t.Host.TakeOver(ctx, from, epoch)
	if errors.Is(err, home.ErrService) {
		err = fmt.Errorf("%w: %w", host.ErrRefused, err) // users wait: better back to where it works than another try
	}
	return done.String(), final(err)
}

func (t taker) GiveBack(ctx context.Context, epoch int64) (string, error) {
	return "the service goes on with the data that it had before", final(t.Host.GiveBack(ctx, epoch))
}

// final marks the errors that no second try will change.
func final(err error) error {
	for _, known := range []error{home.ErrOld, replica.ErrNone, replica.ErrDamaged, replica.ErrExists} {
		if errors.Is(err, known) {
			return fmt.Errorf("%w: %w", host.ErrRefused, err)
		}
	}
	return err
}

// syncedFiles is a service whose data of kind files is replicated from here.
type syncedFiles struct {
	programs *home.Commands
	data     []runbooks.Data
	objects  *s3client.Clients
	log      *slog.Logger
	life     context.Context

	cancel context.CancelFunc
	done   sync.WaitGroup
}

func (s *syncedFiles) Stop(ctx context.Context) error {
	err := s.programs.Stop(ctx)
	if err == nil {
		s.stop()
	}
	return err
}

func (s *syncedFiles) Start(ctx context.Context, epoch int64, prefixes []string) error {
	s.stop()
	if err := s.programs.Start(ctx, epoch, prefixes); err != nil {
		return err
	}
	s.run(epoch)
	return nil
}

func (s *syncedFiles) Resume(ctx context.Context, epoch int64, prefixes []string) error {
	s.run(epoch)
	return s.programs.Resume(ctx, epoch, prefixes)
}

func (s *syncedFiles) run(epoch int64) {
	running, cancel := context.WithCancel(s.life)
	s.cancel = cancel
	for _, d := range s.data {
		if d.Kind == "files" {
			s.done.Go(func() { s.sync(running, d, epoch) })
		}
	}
}

// sync replicates a directory for as long as it may; one that is not there yet is waited for.
func (s *syncedFiles) sync(ctx context.Context, d runbooks.Data, epoch int64) {
	warn := func(err error) {
		if err != nil && ctx.Err() == nil {
			s.log.Warn("files are not replicated; it is tried again", "dir", d.Path, "error", err)
		}
	}
	for ctx.Err() == nil {
		syncer, err := replicafiles.NewSyncer(replicafiles.SyncerConfig{
			Clients: s.objects, Dir: d.Path, Bucket: d.Bucket, Epoch: epoch, Tell: func(r replicafiles.Round) { warn(r.Err) },
		})
		if err == nil {
			err = syncer.Run(ctx)
		}
		warn(err)
		select {
		case <-ctx.Done():
		case <-time.After(syncAgain):
		}
	}
}

func (s *syncedFiles) stop() {
	if s.cancel != nil {
		s.cancel()
	}
	s.done.Wait()
	s.cancel = nil
}
