package files

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/holds"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/s3access"
	"github.com/understudy-dr/understudy/activities/s3client"
)

const (
	// DefaultInterval is the wait between two looks at the directory.
	DefaultInterval = time.Second
	// DefaultSettle is how long a file must be left alone before it is sent: its writer may not be through.
	DefaultSettle = 500 * time.Millisecond
	// markEvery is how often the marker is written while nothing changes; it bounds the lag that is then reported.
	markEvery = 5 * time.Second
	// scanShare keeps the looking at a large directory at most one part in so many of the time.
	scanShare = 5
)

// SyncerConfig says what to send, and where to.
type SyncerConfig struct {
	Clients s3access.Clients
	// Dir is the directory. It must be there.
	Dir string
	// Bucket is the runbook's s3://bucket/prefix, and Epoch the one below whose prefix this writer may write.
	Bucket string
	Epoch  int64
	// Interval, Settle and Parallel default to DefaultInterval, DefaultSettle and DefaultParallel.
	Interval time.Duration
	Settle   time.Duration
	Parallel int
	// Tell is told of each round that sent or failed something. May be nil.
	Tell func(Round)
}

// Round is one look at the directory, and what came of it.
type Round struct {
	// Complete is the moment up to which everything that was written has arrived.
	Complete time.Time
	// Files in the directory, Sent of them in this round, Waiting until they are left alone.
	Files, Sent, Waiting int
	// Skipped are what is no regular file, and names that cannot be kept; the first few of them.
	Skipped []string
	// Err is what failed; it is tried again in the next round.
	Err error
}

// Syncer copies a directory to a bucket, one way. One writer per epoch.
type Syncer struct {
	SyncerConfig
	store store
	// identity of the directory: another one at its path is another disk, or none.
	identity string
	// sent are the files that are known to be in the bucket.
	sent   map[string]stamp
	marked time.Time
}

// NewSyncer returns a syncer. It does not connect.
func NewSyncer(c SyncerConfig) (*Syncer, error) {
	if c.Interval <= 0 {
		c.Interval = DefaultInterval
	}
	if c.Settle <= 0 {
		c.Settle = DefaultSettle
	}
	if c.Parallel <= 0 {
		c.Parallel = DefaultParallel
	}
	s := &Syncer{SyncerConfig: c, sent: map[string]stamp{}, identity: holds.Identify(c.Dir)}
	if s.identity == "" {
		return nil, fmt.Errorf("directory %s is missing", c.Dir)
	}
	var err error
	if s.store.at, err = s3client.ParseURL(replica.Prefix(c.Bucket, c.Epoch)); err != nil {
		return nil, fmt.Errorf("bucket: %w", err)
	}
	s.store.client, err = c.Clients.For(s.store.at.Bucket)
	return s, err
}

// Run copies until the context ends, and returns its error. Rounds that fail are
// told and tried again.
func (s *Syncer) Run(ctx context.Context) error {
	for {
		began := time.Now()
		round := s.Once(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.Tell != nil && (round.Sent > 0 || round.Err != nil) {
			s.Tell(round)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(max(s.Interval, time.Since(began)*(scanShare-1))):
		}
	}
}

// Once looks at the directory once, and sends what changed.
func (s *Syncer) Once(ctx context.Context) Round {
	// What is written from now on may be missing in this round. The file system's clock ticks some milliseconds behind.
	began := time.Now().Add(-clockTick)
	scan, err := scan(s.Dir, s.identity)
	if err != nil {
		return Round{Err: err}
	}
	round := Round{Complete: began, Files: len(scan.files), Skipped: scan.skipped}
	// missed sets the moment back to before a change that has not arrived.
	missed := func(f found) {
		if before := f.came.Add(-time.Nanosecond); before.Before(round.Complete) {
			round.Complete = before
		}
	}
	var ready []found
	for _, f := range scan.files {
		switch {
		case s.sent[f.name] == f.stamp:
		case time.Since(f.came) < s.Settle:
			round.Waiting++
			missed(f)
		default:
			ready = append(ready, f)
		}
	}
	outcomes, err := s.sendAll(ctx, ready)
	round.Err = err
	for i, f := range ready {
		switch outcomes[i] {
		case sentNow:
			round.Sent++
			s.sent[f.name] = f.stamp
		case wasThere:
			s.sent[f.name] = f.stamp
		default:
			missed(f)
		}
	}
	s.forget(scan.files)
	if !errors.Is(round.Err, replica.ErrUnavailable) && (round.Sent > 0 || time.Since(s.marked) >= markEvery) {
		round.Err = errors.Join(round.Err, s.mark(ctx, round))
	}
	return round
}

// outcome is what came of a file.
type outcome int

const (
	notSent outcome = iota
	sentNow
	wasThere // as after a restart
)

// sendAll sends files. One that cannot be read holds up no other; a store that
// does not answer ends the round.
func (s *Syncer) sendAll(ctx context.Context, ready []found) (outcomes []outcome, err error) {
	outcomes = make([]outcome, len(ready)) // each written by one goroutine
	failed := make([]error, len(ready))
	places := make([]int, len(ready))
	for i := range places {
		places[i] = i
	}
	err = each(ctx, s.Parallel, places, func(ctx context.Context, i int) error {
		outcome, err := s.send(ctx, ready[i])
		switch {
		case errors.Is(err, replica.ErrUnavailable):
			return err
		case err == nil:
			outcomes[i] = outcome
		case !errors.Is(err, errMoving): // that one is sent in a later round
			failed[i] = err
		}
		return nil
	})
	return outcomes, errors.Join(append(failed, err)...)
}

// forget forgets the files that are gone, so that one of the same name is sent again.
func (s *Syncer) forget(files []found) {
	if len(s.sent) == 0 {
		return
	}
	there := make(map[string]bool, len(files))
	for _, f := range files {
		there[f.name] = true
	}
	for name := range s.sent {
		if !there[name] {
			delete(s.sent, name)
		}
	}
}

// send sends a file, unless the bucket has it already.
func (s *Syncer) send(ctx context.Context, f found) (outcome, error) {
	at := s.store.at.Join(f.name)
	if len(s.sent) == 0 {
		out, err := s.store.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(at.Bucket), Key: aws.String(at.Key)})
		if err == nil && aws.ToInt64(out.ContentLength) == f.size && out.Metadata[timeKey] == f.written() {
			return wasThere, nil
		}
		if err != nil && !s3client.Missing(err) {
			return notSent, unavailable("look at", at, err)
		}
	}
	file, err := f.open(s.Dir)
	if err != nil {
		return notSent, err
	}
	defer file.Close()
	sum, err := f.hash(file)
	if err != nil {
		return notSent, err
	}
	// The store checks the content against the hash: a file that is written to at this very moment is refused, and not
	// kept with a hash that it has not.
	_, err = s.store.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(at.Bucket), Key: aws.String(at.Key), Body: file, ContentLength: aws.Int64(f.size),
		ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum)),
		Metadata:       map[string]string{sumKey: hex.EncodeToString(sum), timeKey: f.written()},
	})
	if moved := f.unchanged(file); moved != nil {
		return notSent, moved
	}
	if err != nil {
		return notSent, unavailable("write", at, err)
	}
	return sentNow, nil
}

// mark writes the marker.
func (s *Syncer) mark(ctx context.Context, round Round) error {
	at := s.store.at.Join(markerName)
	content, err := json.Marshal(marker{Complete: round.Complete.UTC(), Files: round.Files})
	if err != nil {
		return err
	}
	if _, err := s.store.client.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(at.Bucket), Key: aws.String(at.Key), Body: bytes.NewReader(content)}); err != nil {
		return unavailable("write", at, err)
	}
	s.marked = time.Now()
	return nil
}
