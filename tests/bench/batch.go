package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/site/audio"
	"github.com/understudy-dr/understudy/triggers"
)

const (
	batchService = "asr"
	// batchLanes is how many requests are in flight, batchItems and farItems how many recordings a batch has.
	batchLanes = 2
	batchItems = 36
	farItems   = 100
	// farAnswer is how long a recognizer on another machine takes for an answer.
	farAnswer = 200 * time.Millisecond
	// batchPatience bounds one batch.
	batchPatience = 5 * time.Minute
	// lookAtBatch is the time between two looks at a batch that is to be struck, seldom that where nothing but the end
	// is waited for: each look costs something.
	lookAtBatch = 100 * time.Millisecond
	seldom      = time.Second
	storeBucket = "batches"
	audioBucket = "audio"
)

// hall is a recognizer, a store, and an Understudy that runs batches there.
type hall struct {
	dir string
	// url is the recognizer's: site is real and here, far stands for one on another machine.
	url        string
	site       *harness.Site
	far        *speechProcess
	store      *harness.MinIOServer
	understudy *harness.Understudy
	program    string
	// folder has the recordings and their manifest, seconds is how long they are.
	folder, manifest, config string
	lines                    string
	items                    int
	seconds                  float64
}

// setHall starts one with a real recognizer.
func setHall(ctx context.Context, dir string) (*hall, error) {
	return setHallWith(ctx, dir, batchItems, 0)
}

// setFarHall starts one with a recognizer that takes its time, and none of this machine's.
func setFarHall(ctx context.Context, dir string) (*hall, error) {
	return setHallWith(ctx, dir, farItems, farAnswer)
}

func setHallWith(ctx context.Context, dir string, items int, think time.Duration) (h *hall, err error) {
	h = &hall{items: items, dir: dir, folder: filepath.Join(dir, "recordings"), config: filepath.Join(dir, "run.yaml")}
	defer func() {
		if err != nil {
			h.close()
			h = nil
		}
	}()
	if err := harness.FindEngines(); err != nil {
		return h, err
	}
	if h.program, err = harness.BuildUnderstudy(ctx); err != nil {
		return h, err
	}
	if think > 0 {
		if h.far, err = startSpeech(ctx, dir, "far", think); err != nil {
			return h, err
		}
		h.url = "http://" + h.far.address
	} else {
		if h.site, err = harness.StartASR(ctx, harness.SiteOptions{Dir: dir}); err != nil {
			return h, err
		}
		h.url = h.site.URL
	}
	if h.store, err = harness.MinIO(ctx, dir); err != nil {
		return h, err
	}
	for _, bucket := range []string{storeBucket, audioBucket} {
		if err := h.store.CreateBucket(ctx, bucket); err != nil {
			return h, err
		}
	}
	if err := h.speak(ctx); err != nil {
		return h, err
	}
	site := runbooks.Site{APIVersion: runbooks.APIVersion, S3: map[string]runbooks.S3{"default": h.store.Site()}}
	text, err := json.Marshal(site)
	if err != nil {
		return h, err
	}
	if err := os.WriteFile(h.config, text, 0o600); err != nil {
		return h, err
	}
	r := runbookOf(batchService, h.url, h.url, h.url)
	r.Health = runbooks.Health{}
	r.Traffic.Sockets = []string{filepath.Join(dir, "no-haproxy.sock")} // nothing is switched here
	r.Batches = &runbooks.Batches{Store: "s3://" + storeBucket + "/" + batchService, Concurrency: batchLanes}
	h.understudy, err = harness.StartUnderstudy(ctx, harness.UnderstudyOptions{Dir: dir, Site: site, Runbooks: []runbooks.Runbook{r}})
	return h, err
}

// speak makes the recordings, on disk and in the store.
func (h *hall) speak(ctx context.Context) error {
	if err := os.MkdirAll(h.folder, 0o755); err != nil {
		return err
	}
	clip, err := audio.Say(ctx, audio.Digits)
	if err != nil {
		return err
	}
	var lines strings.Builder
	for i := range h.items {
		name := fmt.Sprintf("%03d.wav", i)
		if err := os.WriteFile(filepath.Join(h.folder, name), clip.WAV(), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&lines, `{"audio_filepath": %q, "duration": %.3f}`+"\n", name, clip.Duration().Seconds())
	}
	h.seconds, h.lines, h.manifest = clip.Duration().Seconds(), lines.String(), filepath.Join(h.dir, "manifest.jsonl")
	if err := os.WriteFile(h.manifest, []byte(h.lines), 0o644); err != nil {
		return err
	}
	return h.store.Upload(ctx, audioBucket, "calls", h.folder)
}

func (h *hall) close() {
	if h.understudy != nil {
		h.understudy.Kill()
	}
	if h.store != nil {
		h.store.Kill()
	}
	if h.site != nil {
		h.site.Kill()
	}
	if h.far != nil {
		h.far.Kill()
	}
}

// served submits a batch to Understudy, and returns its report once it is
// finished. meanwhile is told of its progress until it returns false.
func (h *hall) served(ctx context.Context, job string, meanwhile func(done int64) bool) (jobs.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, batchPatience)
	defer cancel()
	var b triggers.BatchDetail
	err := h.understudy.Post(ctx, batchesOf(batchService), triggers.Submission{Job: job, Lines: h.lines, Base: "s3://" + audioBucket + "/calls"}, &b)
	if err != nil {
		return jobs.Report{}, err
	}
	return awaitBatch(ctx, h.understudy, batchService, job, meanwhile)
}

func batchesOf(service string) string { return "/api/v1/services/" + service + "/batches" }

func awaitBatch(ctx context.Context, u *harness.Understudy, service, job string, meanwhile func(done int64) bool) (report jobs.Report, err error) {
	listens, every := meanwhile != nil, lookAtBatch
	if !listens {
		every = seldom
	}
	err = until(ctx, func(ctx context.Context) error {
		var b triggers.BatchDetail
		if err := u.Get(ctx, batchesOf(service)+"/"+job, &b); err != nil {
			return err
		}
		if listens {
			listens = meanwhile(b.Succeeded)
		}
		if b.Report == nil {
			pause(ctx, every)
			return fmt.Errorf("%s: %s %s, %d of %d", job, b.State, b.Reason, b.Succeeded, b.Items)
		}
		report = *b.Report
		return nil
	})
	return report, err
}

// alone runs a batch with `understudy batch run`.
func (h *hall) alone(ctx context.Context, job string) *exec.Cmd {
	return exec.CommandContext(ctx, h.program, "batch", "run", h.manifest, "--config", h.config, "--job", job, "--base", h.folder, "--output", "json",
		"--store", "s3://"+storeBucket+"/alone", "--service", batchService, "--url", h.url, "--concurrency", fmt.Sprint(batchLanes))
}

// finishAlone runs it to its end, and returns its report.
func (h *hall) finishAlone(ctx context.Context, job string) (jobs.Report, error) {
	cmd := h.alone(ctx, job)
	var said, complained bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &complained
	if err := cmd.Run(); err != nil {
		return jobs.Report{}, fmt.Errorf("batch run: %w: %s", err, &complained)
	}
	var out struct{ Report *jobs.Report }
	if err := json.Unmarshal(said.Bytes(), &out); err != nil || out.Report == nil {
		return jobs.Report{}, errors.Join(fmt.Errorf("batch run said %s", &said), err)
	}
	return *out.Report, nil
}

// bareBatch is what a person would write: one request an item, some at a time,
// the answers in files.
func (h *hall) bareBatch(ctx context.Context) error {
	const script = `cd "$1" && mkdir -p "$4" && ls *.wav | xargs -P "$2" -I{} curl -sf -o "$4/{}.json" -F response_format=verbose_json -F file=@{} "$3"`
	out, err := exec.CommandContext(ctx, "sh", "-c", script, "sh", h.folder, fmt.Sprint(batchLanes), h.url+transcription, filepath.Join(h.dir, "bare")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("the bare loop: %w: %s", err, out)
	}
	return nil
}

// batchThroughput runs one batch after the other, in turns.
func batchThroughput(ctx context.Context, b *bench) (group, error) {
	return b.throughput(ctx, "batch", setHall, group{
		title: fmt.Sprintf("a batch of real audio, %d at a time", batchLanes),
		notes: []string{"The recognizer is pocketsphinx on this machine: it takes all processors, and whatever else runs slows it down."},
	})
}

// farThroughput is the same with a recognizer on another machine, as it is where a GPU does the work.
func farThroughput(ctx context.Context, b *bench) (group, error) {
	return b.throughput(ctx, "far", setFarHall, group{
		title: fmt.Sprintf("a batch on another machine's recognizer, %d at a time", batchLanes),
		notes: []string{fmt.Sprintf("The recognizer answers after %s and takes nothing of this machine.", farAnswer)},
	})
}

func (b *bench) throughput(ctx context.Context, name string, set func(context.Context, string) (*hall, error), g group) (group, error) {
	h, err := start(ctx, filepath.Join(b.dir, name), set)
	if err != nil {
		return group{}, err
	}
	defer h.close()
	var took [3]time.Duration
	for repeat := range b.repeats {
		for turn := range took {
			which := (repeat + turn) % len(took) // nobody is always the first
			b.tell("repeat %d of %d", repeat+1, b.repeats)
			began := time.Now()
			var ended time.Time
			var r jobs.Report
			var err error
			switch which {
			case 0:
				r, err = h.served(ctx, fmt.Sprintf("served-%d", repeat), nil)
				ended = r.FinishedAt
			case 1:
				_, err = h.finishAlone(ctx, fmt.Sprintf("alone-%d", repeat))
				ended = time.Now()
			case 2:
				err = h.bareBatch(ctx)
				ended = time.Now()
			}
			if err != nil {
				return group{}, err
			}
			took[which] += ended.Sub(began)
		}
	}
	g.columns = []string{"Understudy", "batch run", "xargs -P curl"}
	g.method = []string{
		fmt.Sprintf("%d recordings of %.1f s, %d requests in flight, from the submission to the report; %d repeats in turns.", h.items, h.seconds, batchLanes, b.repeats),
		"Understudy reads the audio from S3 and has Temporal beside it; batch run and the bare loop read it from disk. Both of ours keep each",
		"result in S3 (MinIO) before the next; the bare loop keeps files, and starts again from the beginning.",
	}
	var rate, share []string
	for _, t := range took {
		rate = append(rate, fmt.Sprintf("%.2f", float64(h.items*b.repeats)/t.Seconds()))
		share = append(share, fmt.Sprintf("%.2f", took[2].Seconds()/t.Seconds()))
	}
	g.rows = []row{{what: "items a second", cells: rate}, {what: "share of the bare loop", cells: share, beat: "0.95"}}
	return g, nil
}

// batchKilled kills the recognizer, and then whoever runs the batch, in the middle of it.
func batchKilled(ctx context.Context, b *bench) (group, error) {
	h, err := start(ctx, filepath.Join(b.dir, "batch-kill"), setHall)
	if err != nil {
		return group{}, err
	}
	defer h.close()
	var redone [2][3]float64 // the worst of the recognizer's death, and of the runner's; in the columns' order
	worst := func(into *float64, r jobs.Report, err error) error {
		if err == nil && r.Succeeded != batchItems {
			err = fmt.Errorf("%d of %d succeeded", r.Succeeded, batchItems)
		}
		*into = math.Max(*into, r.RedoneSeconds)
		return err
	}
	for repeat := range b.repeats {
		b.tell("repeat %d of %d", repeat+1, b.repeats)
		half := func(kill func()) func(int64) bool {
			return func(done int64) bool {
				if done < batchItems/2 {
					return true
				}
				kill()
				return false
			}
		}
		var restarted error
		again := func() { h.site.Kill(); restarted = h.site.Restart(ctx) }
		r, err := h.served(ctx, fmt.Sprintf("served-site-%d", repeat), half(again))
		if err := errors.Join(worst(&redone[0][0], r, err), restarted); err != nil {
			return group{}, err
		}
		r, err = h.served(ctx, fmt.Sprintf("served-self-%d", repeat), half(func() { h.understudy.Kill(); restarted = h.understudy.Restart(ctx) }))
		if err := errors.Join(worst(&redone[1][0], r, err), restarted); err != nil {
			return group{}, err
		}
		r, err = h.killAlone(ctx, fmt.Sprintf("alone-site-%d", repeat), func(*exec.Cmd) { again() })
		if err := errors.Join(worst(&redone[0][1], r, err), restarted); err != nil {
			return group{}, err
		}
		r, err = h.killAlone(ctx, fmt.Sprintf("alone-self-%d", repeat), func(c *exec.Cmd) { _ = c.Process.Kill() })
		if err := worst(&redone[1][1], r, err); err != nil {
			return group{}, err
		}
	}
	cells := func(of [3]float64, bare string) []string {
		return []string{fmt.Sprintf("%.1f s", of[0]), fmt.Sprintf("%.1f s", of[1]), bare}
	}
	most := fmt.Sprintf("%.1f s", float64(batchLanes)*h.seconds)
	return group{
		title:   "killed in the middle of a batch: audio done again",
		columns: []string{"Understudy", "batch run", "xargs -P curl"},
		rows: []row{
			{what: "kill -9 of the recognizer, which starts again", cells: cells(redone[0], "lost"), beat: most},
			{what: "kill -9 of the runner, which starts again", cells: cells(redone[1], fmt.Sprintf("%.0f s", h.seconds*batchItems/2)), beat: most},
		},
		method: []string{
			fmt.Sprintf("The same %d recordings of %.1f s; killed when half of them were done; the worst of %d repeats. To beat: what was in flight.", batchItems, h.seconds, b.repeats),
			"Every item succeeds in the end. The bare loop loses what was in flight when the recognizer dies; started again, it does everything again.",
		},
	}, nil
}

// killAlone runs a batch alone, does something when half of it is done, and runs it to its end.
func (h *hall) killAlone(ctx context.Context, job string, strike func(*exec.Cmd)) (jobs.Report, error) {
	before, err := h.site.Stats(ctx)
	if err != nil {
		return jobs.Report{}, err
	}
	cmd := h.alone(ctx, job)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return jobs.Report{}, err
	}
	err = until(ctx, func(ctx context.Context) error {
		now, err := h.site.Stats(ctx)
		if err == nil && now.Inferences-before.Inferences < batchItems/2 {
			err = fmt.Errorf("%d inferences", now.Inferences-before.Inferences)
		}
		return err
	})
	if err != nil {
		return jobs.Report{}, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	strike(cmd)
	_ = cmd.Wait() // it was killed, or ended well; the next one tells
	return h.finishAlone(ctx, job)
}
