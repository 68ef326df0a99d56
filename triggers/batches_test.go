package triggers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/jobs/s3store"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/speech"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/triggers/audit"
	"github.com/understudy-dr/understudy/triggers/triggerstest"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	room = "/api/v1/services/asr/batches"
	// noise is what no one takes for text.
	noise = "\x00\x01\x02\x03"
)

// lines are a manifest of so many items.
func lines(items int) string {
	var text strings.Builder
	for i := range items {
		fmt.Fprintf(&text, `{"audio_filepath": "%d.wav", "duration": 2, "speaker": "rms"}`+"\n", i)
	}
	return text.String()
}

// hall is the API with a batch store.
type hall struct {
	*stage
	batches *triggerstest.Batches
}

func hallOf(t *testing.T, logins bool, services ...string) *hall {
	t.Helper()
	h := &hall{batches: triggerstest.NewBatches(t)}
	library := triggerstest.BatchLibrary(services...)
	h.stage = setEdited(t, logins, func(c *triggers.APIConfig) {
		c.Batches, c.Library = h.batches.Batching(), func() *runbooks.Library { return library }
	}, services...)
	return h
}

func (h *hall) submit(key string, s triggers.Submission) (int, triggers.BatchDetail, string) {
	h.t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		h.t.Fatal(err)
	}
	status, body := h.post("rob", room, string(text), key)
	var detail triggers.BatchDetail
	_ = json.Unmarshal([]byte(body), &detail)
	return status, detail, body
}

func (h *hall) batch(job string) (detail triggers.BatchDetail) {
	h.t.Helper()
	h.get(room+"/"+job, &detail)
	return detail
}

// silence transcribes everything but what is named bad.
type silence struct{}

func (silence) Transcribe(_ context.Context, r speech.TranscribeRequest) (speech.Transcript, error) {
	if strings.Contains(r.Audio.Name, "bad") {
		return speech.Transcript{}, speech.BadAudio("it is noise")
	}
	return speech.Transcript{Text: "one two three"}, nil
}

// work works a job off to its end.
func (h *hall) work(job string) {
	h.t.Helper()
	runner := &jobs.Runner{Store: h.batches.Store, Audio: h.batches.Batching().Manifests, Speech: silence{}}
	claim := jobs.Claim{Holder: "batch/asr/" + job}
	if _, err := runner.Run(h.t.Context(), jobs.Work{Job: job, Claim: claim, URL: "http://asr", Revision: "1"}); err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.batches.Finish(h.t.Context(), job, claim, nil); err != nil {
		h.t.Fatal(err)
	}
	h.batches.Works(job, triggers.BatchRun{})
}

// put puts an object into the bucket of the audio.
func (h *hall) put(key, content string) {
	h.t.Helper()
	client, err := h.batches.Objects.For("audio")
	if err == nil {
		_, err = client.PutObject(h.t.Context(), &s3.PutObjectInput{Bucket: aws.String("audio"), Key: aws.String(key), Body: strings.NewReader(content)})
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func TestABatchFromSubmissionToOutput(t *testing.T) {
	h := hallOf(t, true, "asr")
	for i := range 3 {
		h.put(fmt.Sprintf("calls/%d.wav", i), noise)
	}
	h.put("calls/bad.wav", noise)
	h.put("calls/list.jsonl", lines(3)+`{"audio_filepath": "bad.wav", "duration": 1}`)
	status, made, body := h.submit("k1", triggers.Submission{Job: "nightly", Manifest: "s3://audio/calls/list.jsonl", Language: "en", Reason: "the calls of the night"})
	if status != 200 || made.Items != 4 || made.TotalSeconds != 7 || !made.Working || made.State != "running" || made.Link != "http://temporal/batch/asr/nightly" {
		t.Fatalf("%d %s", status, body)
	}
	if d := made.Definition; d.Base != "s3://audio/calls" || d.Concurrency != 3 || d.Attempts != 2 || d.CreatedBy != "rob" || d.Params.Language != "en" {
		t.Errorf("%+v", d)
	}
	if made.Store != triggerstest.BatchStore+"/nightly" {
		t.Error(made.Store)
	}
	if again, detail, body := h.submit("k1", triggers.Submission{Job: "nightly", Manifest: "s3://audio/calls/list.jsonl", Language: "en"}); again != 200 || detail.Job != "nightly" {
		t.Errorf("again: %d %s", again, body)
	}
	if n := len(h.batches.Started()); n != 1 {
		t.Errorf("started %d times", n)
	}
	if status, _, body := h.ask("vera", "GET", room+"/nightly/output", ""); status != 409 || !strings.Contains(body, "items are left to do") {
		t.Errorf("output of an unfinished batch: %d %s", status, body)
	}

	h.batches.Works("nightly", triggers.BatchRun{Running: true, State: workflows.BatchState{Active: "hot", Moves: 2}, Live: jobs.Progress{
		Items: 4, Counts: jobs.Counts{Succeeded: 2, AudioSeconds: 4}, TotalSeconds: 7, Speed: 2,
	}})
	if b := h.batch("nightly"); b.Succeeded != 2 || b.Speed != 2 || b.LeftSeconds != 1.5 || b.On != "hot" || b.Moves != 2 {
		t.Errorf("%+v", b.Batch)
	}
	h.batches.Works("nightly", triggers.BatchRun{Running: true, State: workflows.BatchState{Waits: "asr recovers"}})
	if b := h.batch("nightly"); b.State != "waiting" || b.Reason != "asr recovers" || b.LeftSeconds != 0 {
		t.Errorf("%+v", b.Batch)
	}
	h.batches.Works("nightly", triggers.BatchRun{})
	if b := h.batch("nightly"); b.Working || !strings.Contains(b.Reason, "understudy batch resume asr") {
		t.Errorf("%+v", b.Batch)
	}

	h.work("nightly")
	if b := h.batch("nightly"); b.State != "finished" || b.Report == nil || b.Report.Succeeded != 3 || b.Failed != 1 {
		t.Errorf("%+v", b)
	}
	status, headers, output := h.ask("vera", "GET", room+"/nightly/output", "")
	if status != 200 || headers.Get("Content-Type") != "application/jsonl" || strings.Count(output, `"speaker": "rms", "pred_text": "one two three"`) != 3 {
		t.Errorf("%d %v %s", status, headers, output)
	}
	if _, _, failed := h.ask("vera", "GET", room+"/nightly/output?file=failed", ""); !strings.Contains(failed, "it is noise") {
		t.Error(failed)
	}
	var report jobs.Report
	if h.get(room+"/nightly/output?file=report", &report); report.Items != 4 {
		t.Errorf("%+v", report)
	}

	var decided triggers.Decided
	for range 2 { // the second one is answered again, and not carried out again
		status, body := h.post("rob", room+"/nightly/retry-failed", `{"reason":"the server was wrong"}`, "k2")
		if err := json.Unmarshal([]byte(body), &decided); err != nil || status != 200 || decided.Leaves != "1 items are tried again" || decided.On != "asr/nightly" {
			t.Errorf("%d %s", status, body)
		}
	}
	if n := len(h.batches.Started()); n != 2 {
		t.Errorf("started %d times", n)
	}
	for _, verb := range []string{"cancel", "delete"} {
		if status, body := h.post("rob", room+"/nightly/"+verb, `{"reason":"nobody wants it"}`, "k3"); status != 200 {
			t.Errorf("%s: %d %s", verb, status, body)
		}
	}
	if status, _, body := h.ask("vera", "GET", room+"/nightly", ""); status != 404 {
		t.Errorf("after its deletion: %d %s", status, body)
	}
	var did []string
	for _, e := range h.Entries() {
		if e.Who != "rob" || e.Result != audit.Done || e.On != "asr/nightly" || e.Key == "" || e.Text == "" {
			t.Errorf("the audit has %+v", e)
		}
		did = append(did, e.Did)
	}
	if got := strings.Join(did, ", "); got != "batch submit, batch submit, batch retry-failed, batch retry-failed, batch cancel, batch delete" {
		t.Errorf("the audit has %s", got)
	}
}

func TestListOfBatches(t *testing.T) {
	h := hallOf(t, false, "asr", "tts")
	for _, job := range []string{"a", "b"} {
		if status, _, body := h.submit(job, triggers.Submission{Job: job, Lines: lines(2), Base: "s3://audio/calls"}); status != 200 {
			t.Fatal(body)
		}
	}
	var all []triggers.Batch
	if h.get(room, &all); len(all) != 2 || all[0].Items != 2 || all[1].State != "running" {
		t.Errorf("%+v", all)
	}
	if h.get("/api/v1/services/tts/batches", &all); len(all) != 0 {
		t.Errorf("of another service: %+v", all)
	}
	if status, _, _ := h.ask("", "GET", "/api/v1/services/tts/batches/a", ""); status != 404 {
		t.Errorf("one of another service: %d", status)
	}
	if status, body := h.post("rob", "/api/v1/services/tts/batches/a/delete", `{"reason":"r"}`, "k"); status != 404 {
		t.Errorf("%d %s", status, body)
	}
}

func TestSubmissionsThatAreNone(t *testing.T) {
	h := hallOf(t, false, "asr")
	h.put("list.jsonl", lines(1))
	good := triggers.Submission{Job: "taken", Lines: lines(1), Base: "s3://audio"}
	if status, _, body := h.submit("1", good); status != 200 {
		t.Fatal(body)
	}
	h.batches.Cancel(t.Context(), "taken", "enough")
	for name, c := range map[string]struct {
		edit   func(*triggers.Submission)
		status int
		says   string
	}{
		"two manifests":         {func(s *triggers.Submission) { s.Manifest = "s3://audio/list.jsonl" }, 422, "one of the two"},
		"none":                  {func(s *triggers.Submission) { s.Lines = "" }, 422, "one of the two"},
		"a file of the machine": {func(s *triggers.Submission) { s.Lines, s.Manifest, s.Base = "", "/etc/passwd", "" }, 422, "reads audio from S3"},
		"audio of the machine":  {func(s *triggers.Submission) { s.Base = "/home" }, 422, "understudy batch run"},
		"no such manifest":      {func(s *triggers.Submission) { s.Lines, s.Manifest = "", "s3://audio/none.jsonl" }, 422, "none.jsonl"},
		"a name that is none":   {func(s *triggers.Submission) { s.Job = "../x" }, 422, "lower-case letters"},
		"another one's name":    {func(s *triggers.Submission) { s.Lines = lines(2) }, 409, "choose another id"},
		"a cancelled one again": {func(s *triggers.Submission) {}, 409, "enough; delete it, or choose another name"},
		"items that climb":      {func(s *triggers.Submission) { s.Lines = `{"audio_filepath": "../a.wav"}` }, 422, `"location":"line 1 audio_filepath"`},
		"an unknown policy":     {func(s *triggers.Submission) { s.OnModelChange = "hope" }, 422, "mix-and-mark"},
	} {
		wrong := good
		c.edit(&wrong)
		if status, _, body := h.submit("2"+name, wrong); status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if n := len(h.batches.Started()); n != 1 {
		t.Errorf("%d were started", n)
	}
	if status, body := h.post("rob", "/api/v1/services/nobody/batches", `{}`, "k"); status != 404 {
		t.Errorf("%d %s", status, body)
	}
	bare := set(t, "asr")
	if status, body := bare.post("rob", room, `{"lines":"x"}`, "k"); status != 404 || !strings.Contains(body, "names no batch store") {
		t.Errorf("%d %s", status, body)
	}
}

// The answer was lost between store and engine: the same request again makes it whole.
func TestSubmissionWhileTheEngineIsAway(t *testing.T) {
	h := hallOf(t, false, "asr")
	h.batches.Fail(1)
	s := triggers.Submission{Lines: lines(1), Base: "s3://audio"}
	if status, _, body := h.submit("k", s); status != 503 || !strings.Contains(body, "send the same request again") {
		t.Errorf("%d %s", status, body)
	}
	status, detail, body := h.submit("k", s)
	if status != 200 || !strings.HasPrefix(detail.Job, "batch-") || len(h.batches.Started()) != 1 {
		t.Errorf("%d %s", status, body)
	}
	if _, other, _ := h.submit("k2", s); other.Job == detail.Job {
		t.Error("another key is another batch")
	}
	if e := h.Entries(); e[0].Result != audit.Unsure || e[1].Result != audit.Done {
		t.Errorf("%+v", e)
	}
}

// careless is a store that takes conditions and ignores them.
type careless struct{ jobs.Objects }

func (c careless) Put(ctx context.Context, key string, body io.ReadSeeker, _ jobs.Condition) (string, error) {
	return c.Objects.Put(ctx, key, body, jobs.Condition{})
}

func TestAStoreThatIgnoresConditionsGetsNoBatch(t *testing.T) {
	h := hallOf(t, false, "asr")
	client, err := h.batches.Objects.For("batches")
	if err != nil {
		t.Fatal(err)
	}
	h.batches.Store = jobs.NewStore(careless{s3store.New(client, s3client.Location{Bucket: "batches", Key: "asr"})})
	if status, _, body := h.submit("k", triggers.Submission{Job: "night", Lines: lines(1), Base: "s3://audio"}); status != 409 || !strings.Contains(body, "ignores conditions") {
		t.Errorf("%d %s", status, body)
	}
	if all, err := h.batches.Jobs(t.Context()); err != nil || len(all) != 0 || len(h.batches.Started()) != 0 {
		t.Errorf("%+v %v", all, err)
	}
}

func TestResumeAndHeld(t *testing.T) {
	h := hallOf(t, false, "asr")
	for _, job := range []string{"a", "b", "c"} {
		if status, _, body := h.submit(job, triggers.Submission{Job: job, Lines: lines(1), Base: "s3://audio"}); status != 200 {
			t.Fatal(body)
		}
		if err := h.batches.StopBatch(t.Context(), "asr", job); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.batches.Cancel(t.Context(), "c", "enough"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.batches.Take(t.Context(), "b", jobs.Claim{Holder: "a shell"}); err != nil {
		t.Fatal(err)
	}
	var all []triggers.Resumed
	status, body := h.post("rob", room+"/resume", `{"reason":"r","takeover":true}`, "k")
	if err := json.Unmarshal([]byte(body), &all); err != nil || status != 200 || len(all) != 2 || !all[0].OK || !all[1].OK || all[1].Holder != "a shell" {
		t.Errorf("%d %s", status, body)
	}
	last := h.batches.Started()
	if got := last[len(last)-1]; got != (activities.StartBatchInput{Service: "asr", Job: "b", Takeover: true}) {
		t.Errorf("%+v", got)
	}
	if status, again := h.post("rob", room+"/resume", `{"reason":"r","takeover":true}`, "k"); status != 200 || again != body || len(h.batches.Started()) != len(last) {
		t.Errorf("again: %d %s", status, again)
	}
	if status, body := h.post("rob", room+"/resume", `{"reason":"r","job":"c"}`, "k2"); status != 404 {
		t.Errorf("one that is over: %d %s", status, body)
	}
	if status, body := h.post("rob", room+"/b/retry-failed", `{"reason":"r"}`, "k3"); status != 409 || !strings.Contains(body, "a shell: wait until it has ended") {
		t.Errorf("one that is held: %d %s", status, body)
	}
	if _, head, err := h.batches.Open(t.Context(), "b"); err != nil || head.Holder != "a shell" {
		t.Errorf("%+v, %v", head, errors.Join(err))
	}
}
