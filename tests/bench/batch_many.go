package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	manyLanes = 16
	manyJob   = "large"
	// manySeconds is how long each recording is said to be, and is.
	manySeconds = 0.1
	// manyPatience bounds the whole batch.
	manyPatience = 20 * time.Minute
)

// manyItems runs one large batch against a recognizer that answers at once, so
// that what is measured is us.
func manyItems(ctx context.Context, b *bench) (group, error) {
	h, err := start(ctx, filepath.Join(b.dir, "batch-many"), setMany)
	if err != nil {
		return group{}, err
	}
	defer h.close()
	ctx, cancel := context.WithTimeout(ctx, manyPatience)
	defer cancel()
	began := time.Now()
	if err := h.submit(ctx, b.items); err != nil {
		return group{}, err
	}
	third := int64(b.items / 3)
	if err := h.reach(ctx, b, third); err != nil {
		return group{}, err
	}
	early, rate := h.memory("VmRSS"), float64(third)/time.Since(began).Seconds()
	if err := h.reach(ctx, b, 2*third); err != nil {
		return group{}, err
	}
	late, peak := h.memory("VmRSS"), h.memory("VmHWM")
	// Killed here, it goes on here.
	h.understudy.Kill()
	killed := time.Now()
	if err := h.understudy.Restart(ctx); err != nil {
		return group{}, err
	}
	up := time.Since(killed)
	at := h.done(ctx)
	if err := h.reach(ctx, b, at+1); err != nil {
		return group{}, err
	}
	resumed := time.Since(killed)
	report, err := awaitBatch(ctx, h.understudy, batchService, manyJob, func(done int64) bool {
		b.tell("%d of %d", done, b.items)
		return true
	})
	if err != nil {
		return group{}, err
	}
	if report.Succeeded != int64(b.items) {
		return group{}, fmt.Errorf("%d of %d succeeded", report.Succeeded, b.items)
	}
	whole := time.Since(began)
	longest, runs, err := h.histories(ctx)
	if err != nil {
		return group{}, err
	}
	mb := func(kib int64) string { return fmt.Sprintf("%.0f MB", float64(kib)/1024) }
	return group{
		title:   fmt.Sprintf("%d items against a recognizer that answers at once", b.items),
		columns: []string{"Understudy"},
		rows: []row{
			{what: "items a second, first third", cells: []string{fmt.Sprintf("%.0f", rate)}},
			{what: "from the submission to the report", cells: []string{figure(whole)}},
			{what: "memory of server and worker after a third", cells: []string{mb(early)}},
			{what: "  after two thirds", cells: []string{mb(late)}, beat: "flat"},
			{what: "  at its highest until then", cells: []string{mb(peak)}},
			{what: "  at its highest after the restart, to the report", cells: []string{mb(h.memory("VmHWM"))}},
			{what: "events of the longest history", cells: []string{fmt.Sprint(longest)}, beat: "10,000"},
			{what: "histories of the batch", cells: []string{fmt.Sprint(runs)}},
			{what: "killed in the middle: ready again", cells: []string{figure(up)}},
			{what: "  the next item done", cells: []string{figure(resumed)}, beat: "seconds"},
			{what: "  audio done again", cells: []string{fmt.Sprintf("%.1f s", report.RedoneSeconds)}, beat: fmt.Sprintf("%.1f s", manyLanes*manySeconds)},
		},
		method: []string{
			fmt.Sprintf("One batch, %d requests in flight; store and recognizer are in memory, in processes of their own on this machine.", manyLanes),
			"Memory is the resident set of the one process that holds API, embedded Temporal server and worker.",
		},
	}, nil
}

// many is an Understudy with a store and a recognizer that cost next to nothing.
type many struct {
	speech     *speechProcess
	store      *harness.Process
	objects    *s3client.Clients
	understudy *harness.Understudy
}

func setMany(ctx context.Context, dir string) (m *many, err error) {
	m = &many{}
	defer func() {
		if err != nil {
			m.close()
			m = nil
		}
	}()
	if m.speech, err = startSpeech(ctx, dir, "speech", 0); err != nil {
		return m, err
	}
	var access runbooks.S3
	if m.store, access, err = startStore(ctx, dir); err != nil {
		return m, err
	}
	m.objects = s3client.New(map[string]runbooks.S3{"default": access})
	for _, bucket := range []string{storeBucket, listBucket} {
		client, err := m.objects.For(bucket)
		if err != nil {
			return m, err
		}
		if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
			return m, err
		}
	}
	url := "http://" + m.speech.address
	r := runbookOf(batchService, url, url, url)
	r.Traffic.Sockets = []string{filepath.Join(dir, "no-haproxy.sock")} // nothing is switched here
	r.Batches = &runbooks.Batches{Store: "s3://" + storeBucket + "/" + batchService, Concurrency: manyLanes}
	m.understudy, err = harness.StartUnderstudy(ctx, harness.UnderstudyOptions{Dir: dir, Site: runbooks.Site{S3: map[string]runbooks.S3{"default": access}}, Runbooks: []runbooks.Runbook{r}})
	return m, err
}

func (m *many) close() {
	if m.understudy != nil {
		m.understudy.Kill()
	}
	if m.store != nil {
		m.store.Kill()
	}
	if m.speech != nil {
		m.speech.Kill()
	}
}

// submit puts the manifest into the store, and submits it.
func (m *many) submit(ctx context.Context, items int) error {
	var lines strings.Builder
	for i := range items {
		fmt.Fprintf(&lines, `{"audio_filepath": "%d.wav", "duration": %v}`+"\n", i, manySeconds)
	}
	client, err := m.objects.For(listBucket)
	if err != nil {
		return err
	}
	if _, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(listBucket), Key: aws.String("large.jsonl"), Body: strings.NewReader(lines.String())}); err != nil {
		return err
	}
	var made triggers.BatchDetail
	return m.understudy.Post(ctx, batchesOf(batchService), triggers.Submission{Job: manyJob, Manifest: "s3://" + listBucket + "/large.jsonl", Base: "s3://" + audioBucket + "/calls"}, &made)
}

// done is how many items are done; 0 where nobody answers.
func (m *many) done(ctx context.Context) int64 {
	var b triggers.BatchDetail
	_ = m.understudy.Get(ctx, batchesOf(batchService)+"/"+manyJob, &b)
	return b.Succeeded
}

// reach waits until so many items are done.
func (m *many) reach(ctx context.Context, b *bench, items int64) error {
	return until(ctx, func(ctx context.Context) error {
		done := m.done(ctx)
		b.tell("%d of %d", done, b.items)
		if done < items {
			return fmt.Errorf("%d of %d", done, items)
		}
		return nil
	})
}

// memory is a figure of the process in KiB; 0 where it cannot be read.
func (m *many) memory(name string) (kib int64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.understudy.PID()))
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			_, _ = fmt.Sscan(value, &kib)
		}
	}
	return kib
}

// histories are how many the batch has, and how long the longest is.
func (m *many) histories(ctx context.Context) (longest int64, runs int, err error) {
	c, err := dialEngine(ctx, m.understudy)
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	id := workflows.BatchID(batchService, manyJob)
	err = until(ctx, func(ctx context.Context) error {
		list, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: fmt.Sprintf("WorkflowId = '%s'", id)})
		if err != nil {
			return err
		}
		longest, runs = 0, len(list.GetExecutions())
		for _, one := range list.GetExecutions() {
			longest = max(longest, one.GetHistoryLength())
		}
		if longest == 0 { // it is told once a workflow has ended
			return errors.New("the engine does not tell how long the history is")
		}
		return nil
	})
	return longest, runs, err
}
