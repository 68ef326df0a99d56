package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/tests/site/audio"
	"github.com/understudy-dr/understudy/triggers"
)

const (
	// batchBucket is where the runbook has batches, audioBucket where their audio is.
	batchBucket = "batches"
	audioBucket = "audio"
	// batchJob is the batch of the story, undisturbedJob the same one that nothing happens to.
	batchJob       = "night"
	undisturbedJob = "undisturbed"
	// batchWork is how much work the batch should be for one server: it must outlast the first standby.
	batchWork = 11 * time.Second
	// underWay is how many recordings are done before anybody is killed.
	underWay = 4
	// fewest and most recordings, however fast the machine is.
	fewest = 24
	most   = 1500
	// lookAtBatch is the time between two looks at the batch.
	lookAtBatch = 250 * time.Millisecond
	// uploads at once.
	uploaders = 8
)

// spoken are what the recordings of the batch say, one after the other.
var spoken = []string{
	"nine eight seven six five four three two one", "one three five seven nine two four six eight", "two four six eight one three five seven nine",
	"three one four one five nine two six five", "two seven one eight two eight one eight two", "one four one four two one three five six",
}

// batch is the batch of the story as it is seen from outside.
type batch struct {
	st       *stage
	manifest string

	mu sync.Mutex
	// last is how it was seen last.
	last triggers.Batch
}

// begin speaks the recordings, puts them into the store, and submits them.
func beginBatch(ctx context.Context, s *show, st *stage, answer time.Duration) (*batch, error) {
	s.progress("speaking the recordings of a batch ...")
	items := min(max(int(batchWork/max(answer, time.Millisecond)), fewest), most)
	b := &batch{st: st}
	if err := b.putRecordings(ctx, items); err != nil {
		return nil, fmt.Errorf("put the recordings of the batch: %w", err)
	}
	s.progress("")
	made, err := b.submit(ctx, batchJob, 1)
	if err != nil {
		return nil, err
	}
	b.last = made.Batch
	s.text(normal, "A batch of %d recordings, %.0f s of audio, is being transcribed beside them, one after the other.", made.Items, made.TotalSeconds)
	err = await(ctx, patience, lookAtBatch, func() (bool, error) {
		now, err := b.look(ctx)
		s.progress("%s", b)
		return err == nil && now.Succeeded >= underWay, st.died()
	})
	s.progress("")
	if err != nil {
		return nil, fmt.Errorf("the batch is not under way: %w", err)
	}
	return b, nil
}

func (b *batch) putRecordings(ctx context.Context, items int) error {
	store := b.st.scene.Cold.MinIO
	for _, bucket := range []string{batchBucket, audioBucket} {
		if err := store.CreateBucket(ctx, bucket); err != nil {
			return err
		}
	}
	client, err := store.Clients().For(audioBucket)
	if err != nil {
		return err
	}
	clips := make([]audio.Clip, len(spoken))
	for i, words := range spoken {
		if clips[i], err = audio.Say(ctx, words); err != nil {
			return err
		}
	}
	var text strings.Builder
	var wait sync.WaitGroup
	gate := make(chan struct{}, uploaders)
	failed := make(chan error, items)
	for i := range items {
		clip, name := clips[i%len(clips)], fmt.Sprintf("%04d.wav", i)
		fmt.Fprintf(&text, `{"audio_filepath": %q, "duration": %.3f, "speaker": "rms"}`+"\n", name, clip.Duration().Seconds())
		gate <- struct{}{}
		wait.Go(func() {
			defer func() { <-gate }()
			_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(audioBucket), Key: aws.String(batchJob + "/" + name), Body: bytes.NewReader(clip.WAV())})
			failed <- err
		})
	}
	wait.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			return err
		}
	}
	b.manifest = text.String()
	return nil
}

func (b *batch) submit(ctx context.Context, job string, concurrency int) (made triggers.BatchDetail, err error) {
	err = b.st.scene.Understudy.Post(ctx, batchesPath, triggers.Submission{
		Job: job, Lines: b.manifest, Base: "s3://" + audioBucket + "/" + batchJob, Concurrency: concurrency, Reason: "the demo",
	}, &made)
	return made, err
}

const batchesPath = "/api/v1/services/" + service + "/batches"

// look asks how far it is.
func (b *batch) look(ctx context.Context) (triggers.Batch, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var now triggers.BatchDetail
	if err := b.st.scene.Understudy.Get(ctx, batchesPath+"/"+batchJob, &now); err != nil {
		return triggers.Batch{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = now.Batch
	return now.Batch, nil
}

// seen is how it was seen last.
func (b *batch) seen() triggers.Batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

// watch tells the timeline when the batch waits, and when and where it goes on.
func (b *batch) watch(ctx context.Context, t *timeline) {
	waiting := false
	for ctx.Err() == nil {
		before := b.seen()
		now, err := b.look(ctx)
		switch {
		case err != nil:
		case now.State == string(jobs.Waiting) && !waiting:
			waiting = true
			t.add(news{time.Now(), "batch", fmt.Sprintf("%d of %d recordings are done; it waits: %s", now.Succeeded, now.Items, cut(now.Reason)), asking})
		case now.State == string(jobs.Running) && now.On != before.On && before.On != "":
			waiting = false
			t.add(news{time.Now(), "batch", "goes on at " + now.On, good})
		case now.State == string(jobs.Running):
			waiting = false
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookAtBatch):
		}
	}
}

// cut leaves out the technical end of a reason.
func cut(reason string) string {
	before, _, _ := strings.Cut(reason, ": http")
	return before
}

func (b *batch) String() string {
	now := b.seen()
	return fmt.Sprintf("batch: %d of %d", now.Succeeded+now.Failed+now.Quarantined, now.Items)
}

// transcribed is what became of the batch.
type transcribed struct {
	report jobs.Report
	// moves is how often it went on at another place.
	moves     int
	identical bool
}

// finishBatch waits for the end of the batch, runs the same one undisturbed, and compares.
func finishBatch(ctx context.Context, s *show, st *stage, b *batch) (done transcribed, err error) {
	s.section("What became of the batch")
	if err := b.await(ctx, s, batchJob); err != nil {
		return done, err
	}
	var detail triggers.BatchDetail
	if err := st.scene.Understudy.Get(ctx, batchesPath+"/"+batchJob, &detail); err != nil {
		return done, err
	}
	done.report, done.moves = *detail.Report, detail.Moves
	if _, err := b.submit(ctx, undisturbedJob, 2); err != nil {
		return done, err
	}
	if err := b.await(ctx, s, undisturbedJob); err != nil {
		return done, err
	}
	disturbed, err := b.output(ctx, batchJob)
	if err != nil {
		return done, err
	}
	undisturbed, err := b.output(ctx, undisturbedJob)
	if err != nil {
		return done, err
	}
	done.identical = disturbed == undisturbed
	done.show(s)
	if !done.well() {
		return done, fmt.Errorf("%w: the batch should have gone on at each standby, and have the output of an undisturbed run: %d moves, %d of %d transcribed, output %s",
			errStory, done.moves, done.report.Succeeded, done.report.Items, same(done.identical))
	}
	return done, nil
}

// await waits until a batch is finished.
func (b *batch) await(ctx context.Context, s *show, job string) error {
	err := await(ctx, actPatience, lookAtBatch, func() (bool, error) {
		var now triggers.BatchDetail
		if err := b.st.scene.Understudy.Get(ctx, batchesPath+"/"+job, &now); err != nil {
			return false, b.st.died() // it is asked again
		}
		s.progress("batch %s: %d of %d, %.0f s of audio a second", job, now.Succeeded, now.Items, now.Speed)
		return now.State == string(jobs.Finished), b.st.died()
	})
	s.progress("")
	if err != nil {
		return fmt.Errorf("the batch %s does not end: %w", job, err)
	}
	return nil
}

func (b *batch) output(ctx context.Context, job string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.st.scene.Understudy.URL+batchesPath+"/"+job+"/output", nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("the output of %s: %s: %s", job, response.Status, text)
	}
	return string(text), err
}

func (d transcribed) well() bool {
	return d.identical && d.moves >= len(acts) && d.report.Clean() && d.report.Succeeded == d.report.Items
}

func (d transcribed) show(s *show) {
	line := func(style style, number, text string) {
		s.row(cell{fmt.Sprintf("%6s", number), 8, style}, cell{text: text})
	}
	r := d.report
	line(bold, fmt.Sprint(r.Items), fmt.Sprintf("recordings, %.0f s of audio", r.AudioSeconds))
	line(good, fmt.Sprint(r.Succeeded), "transcribed")
	line(normal, fmt.Sprint(d.moves), "times resumed at another server")
	line(normal, fmt.Sprintf("%.1f s", r.RedoneSeconds), "of audio done again: what was in flight")
	style := good
	if !d.identical {
		style = bad
	}
	s.text(style, "output %s: compared with the same batch, undisturbed, afterwards", same(d.identical))
}

// outcome is the batch in one line, also for programs that read it.
func (d transcribed) outcome(s *show) {
	style := good
	if !d.well() {
		style = bad
	}
	r := d.report
	s.line(style, "Batch=%d/%d failed=%d quarantined=%d resumed=%d redone=%.1fs output=%s", r.Succeeded, r.Items, r.Failed, r.Quarantined, d.moves, r.RedoneSeconds, same(d.identical))
}

func same(identical bool) string {
	if identical {
		return "identical"
	}
	return "different"
}
