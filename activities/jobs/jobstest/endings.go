package jobstest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/activities/jobs"
)

func finishing(t *testing.T, f Fixture) {
	n := f.few(1100, 40)
	store, j := create(t, f, "finished", n)
	l := take(t, f, "finished", 3, "a")
	v := l.Head().Current()
	all := items(t, store, j)
	_, err := store.Report(ctx(t), "finished")
	wants(t, "a report too early", err, jobs.ErrUnfinished)
	_, err = store.Finish(ctx(t), "finished", jobs.Claim{Holder: "a"}, nil)
	wants(t, "finishing too early", err, jobs.ErrUnfinished)
	l = take(t, f, "finished", 3, "a")
	for _, item := range all {
		var err error
		switch item.Index {
		case 1:
			err = l.PutFailure(ctx(t), v, item, failure(l, item, jobs.CodeRefused))
		case 2:
			err = l.PutFailure(ctx(t), v, item, failure(l, item, jobs.CodeQuarantined))
		default:
			err = l.PutResult(ctx(t), v, item, result(l, item, fmt.Sprint("文 <", item.Index, ">")))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(t, f.Open(), resultKey(l, 3), `{"torn`)
	moveTo(t, l, all[n-1])
	if err := l.Advance(ctx(t), func(h *jobs.Head) { h.RedoneSeconds = 12.5 }); err != nil {
		t.Fatal(err)
	}
	var told []int64
	report, err := store.Finish(ctx(t), "finished", jobs.Claim{Holder: "a", Epoch: 3}, func(n int64) { told = append(told, n) })
	if err != nil {
		t.Fatal(err)
	}
	seconds := j.Manifest.Seconds - all[1].Seconds - all[2].Seconds - all[3].Seconds
	if report.Items != int64(n) || report.Succeeded != int64(n-3) || report.Failed != 2 || report.Quarantined != 1 || report.AudioSeconds != seconds ||
		report.RedoneSeconds != 12.5 || report.Epoch != 3 || report.Manifest != j.Manifest || report.Clean() {
		t.Errorf("report %+v", report)
	}
	if fmt.Sprint(report.Revisions) != fmt.Sprint([]jobs.RevisionCount{{Revision: "2512.1", Items: int64(n - 3)}}) || len(report.Torn) != 1 || !strings.Contains(report.Torn[0], resultKey(l, 3)) {
		t.Errorf("revisions %v, torn %v", report.Revisions, report.Torn)
	}
	if len(told) == 0 || told[len(told)-1] != int64(n) {
		t.Errorf("progress %v", told)
	}
	lines := map[string][]string{}
	for _, file := range report.Files {
		text := file2string(t, store, "finished", file.Name)
		if fmt.Sprintf("%x", sha256.Sum256([]byte(text))) != file.SHA256 || int64(len(text)) != file.Bytes || int64(strings.Count(text, "\n")) != file.Lines {
			t.Errorf("%+v is not %d bytes of %d lines", file, len(text), strings.Count(text, "\n"))
		}
		lines[file.Name] = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	}
	if got, want := lines[jobs.OutputFile][0], `{"audio_filepath": "0.wav", "duration": 1, "speaker": "语音-0", "pred_text": "文 <0>"}`; got != want || len(lines[jobs.OutputFile]) != n-3 {
		t.Errorf("output %s, want %s", got, want)
	}
	if got, want := lines[jobs.QuarantinedFile][0], `{"audio_filepath": "2.wav", "duration": 3, "speaker": "语音-2", "error_code": "quarantined", "error": "because"}`; got != want {
		t.Errorf("quarantined %s, want %s", got, want)
	}
	if len(lines[jobs.FailedFile]) != 2 || !strings.Contains(lines[jobs.FailedFile][0], `"error_code": "refused"`) || !strings.Contains(lines[jobs.FailedFile][1], `"error_code": "torn"`) {
		t.Errorf("failed %q", lines[jobs.FailedFile])
	}
	// Again, by anybody, is the same report.
	again, err := jobs.NewStore(f.Open()).Finish(ctx(t), "finished", jobs.Claim{Holder: "b", Epoch: 9}, nil)
	if err != nil || !again.FinishedAt.Equal(report.FinishedAt) {
		t.Errorf("%+v, %v", again, err)
	}
	_, err = store.Take(ctx(t), "finished", jobs.Claim{Holder: "a", Epoch: 99})
	wants(t, "taking a finished job", err, jobs.ErrFinished)
	wants(t, "cancelling a finished job", store.Cancel(ctx(t), "finished", "too late"), jobs.ErrFinished)
	_, err = store.File(ctx(t), "finished", "secrets")
	wants(t, "a file that is none", err, jobs.ErrMissing)
}

func file2string(t *testing.T, s *jobs.Store, id, name string) string {
	t.Helper()
	file, err := s.File(ctx(t), id, name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func missingOutcome(t *testing.T, f Fixture) {
	store, j := create(t, f, "missing", 10)
	l := take(t, f, "missing", 1, "a")
	all := items(t, store, j)
	done(t, l, all, 0, 10)
	if err := f.Open().Delete(ctx(t), []string{resultKey(l, 6)}); err != nil {
		t.Fatal(err)
	}
	_, err := store.Finish(ctx(t), "missing", jobs.Claim{Holder: "a"}, nil)
	wants(t, "an item without a result", err, jobs.ErrUnfinished)
	_, h, err := store.Open(ctx(t), "missing")
	if err != nil || h.Window.Position != all[5].After || h.Window.End != 10 || h.Succeeded != 6 || h.State != jobs.Waiting {
		t.Errorf("the head is %+v, %v", h, err)
	}
	l = take(t, f, "missing", 1, "a")
	if err := l.PutResult(ctx(t), l.Head().Current(), all[6], result(l, all[6], "x")); err != nil {
		t.Fatal(err)
	}
	moveTo(t, l, all[9])
	if r, err := store.Finish(ctx(t), "missing", jobs.Claim{Holder: "a"}, nil); err != nil || r.Succeeded != 10 {
		t.Errorf("%+v, %v", r, err)
	}
}

func retryFailed(t *testing.T, f Fixture) {
	store, j := create(t, f, "again", 8)
	l := take(t, f, "again", 1, "a")
	v := l.Head().Current()
	all := items(t, store, j)
	claim := jobs.Claim{Holder: "cli"}
	_, err := store.RetryFailed(ctx(t), "again", claim)
	wants(t, "a job that is run", err, jobs.ErrHeld)
	done(t, l, all, 0, 8)
	o := f.Open()
	for i, code := range map[int]string{1: jobs.CodeRefused, 2: jobs.CodeQuarantined} {
		if err := o.Delete(ctx(t), []string{resultKey(l, int64(i))}); err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			if err := l.BeginAttempt(ctx(t), v, int64(i), n+1, "died"); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.PutFailure(ctx(t), v, all[i], failure(l, all[i], code)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.BeginAttempt(ctx(t), v, 5, 1, "died"); err != nil { // it succeeded in the end
		t.Fatal(err)
	}
	put(t, o, resultKey(l, 3), "torn")
	report, err := store.Finish(ctx(t), "again", jobs.Claim{Holder: "a"}, nil)
	if err != nil || report.Failed != 2 || report.Quarantined != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	n, err := store.RetryFailed(ctx(t), "again", claim)
	if err != nil || n != 3 {
		t.Fatalf("%d are tried again, %v", n, err)
	}
	_, h, err := store.Open(ctx(t), "again")
	if err != nil || h.State != jobs.Waiting || h.Round != 2 || h.Window.Item != 0 || h.Window.End != 8 || h.Report != "" {
		t.Errorf("the head is %+v, %v", h, err)
	}
	known, err := store.Outcomes(ctx(t), j, h, 0, 8)
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(8) {
		undone := i >= 1 && i <= 3
		if o := known[i]; o.Settled() == undone || undone && o.Attempts != 0 || i == 5 && o.Attempts != 1 {
			t.Errorf("item %d is %+v", i, o)
		}
	}
	l = take(t, f, "again", 1, "a")
	done(t, l, all, 1, 4)
	moveTo(t, l, all[7])
	if report, err = store.Finish(ctx(t), "again", jobs.Claim{Holder: "a"}, nil); err != nil || !report.Clean() || report.Round != 2 {
		t.Errorf("%+v, %v", report, err)
	}
	n, err = store.RetryFailed(ctx(t), "again", claim)
	if _, h, _ := store.Open(ctx(t), "again"); err != nil || n != 0 || h.State != jobs.Finished {
		t.Errorf("nothing to try again: %d, %v, %+v", n, err, h)
	}
	// A torn object that was replaced meanwhile is left alone.
	store, j = create(t, f, "replaced", 1)
	l = take(t, f, "replaced", 1, "a")
	done(t, l, items(t, store, j), 0, 1)
	sound := get(t, o, resultKey(l, 0))
	put(t, o, resultKey(l, 0), "torn")
	if _, err := store.Finish(ctx(t), "replaced", jobs.Claim{Holder: "a"}, nil); err != nil {
		t.Fatal(err)
	}
	put(t, o, resultKey(l, 0), sound)
	if n, err := store.RetryFailed(ctx(t), "replaced", claim); err != nil || n != 1 || get(t, o, resultKey(l, 0)) != sound {
		t.Errorf("%d, %v", n, err)
	}
}

func cancelling(t *testing.T, f Fixture) {
	store, j := create(t, f, "cancelled", 5)
	l := take(t, f, "cancelled", 1, "a")
	all := items(t, store, j)
	done(t, l, all, 0, 2)
	if err := store.Cancel(ctx(t), "cancelled", "ann: wrong folder"); err != nil {
		t.Fatal(err)
	}
	if err := store.Cancel(ctx(t), "cancelled", "again"); err != nil {
		t.Error(err)
	}
	l.Doubt()
	err := l.PutResult(ctx(t), l.Head().Current(), all[2], result(l, all[2], "x"))
	wants(t, "a result", err, jobs.ErrCancelled)
	if err == nil || !strings.Contains(err.Error(), "wrong folder") {
		t.Errorf("%v does not say why", err)
	}
	wants(t, "the head", l.Advance(ctx(t), func(*jobs.Head) {}), jobs.ErrCancelled)
	_, err = store.Take(ctx(t), "cancelled", jobs.Claim{Holder: "a", Epoch: 9, Takeover: true})
	wants(t, "taking it", err, jobs.ErrCancelled)
	if _, h, err := store.Open(ctx(t), "cancelled"); err != nil || h.State != jobs.Cancelled || h.Window.Item != 2 {
		t.Errorf("%+v, %v", h, err)
	}
	wants(t, "one that is not there", store.Cancel(ctx(t), "absent", ""), jobs.ErrMissing)
}

func deleting(t *testing.T, f Fixture) {
	store, j := create(t, f, "deleted", 30)
	create(t, f, "deleted-not", 3)
	l := take(t, f, "deleted", 1, "a")
	v, all := l.Head().Current(), items(t, store, j)
	done(t, l, all, 0, 20)
	if err := store.Delete(ctx(t), "deleted", "ann"); err != nil {
		t.Fatal(err)
	}
	if keys, err := f.Open().List(ctx(t), "deleted/", "", 0); err != nil || len(keys) != 0 {
		t.Errorf("left: %q, %v", keys, err)
	}
	_, _, err := store.Open(ctx(t), "deleted")
	wants(t, "opening it", err, jobs.ErrMissing)
	wants(t, "deleting it again", store.Delete(ctx(t), "deleted", ""), jobs.ErrMissing)
	if _, h, err := store.Open(ctx(t), "deleted-not"); err != nil || h.State != jobs.Waiting {
		t.Errorf("its neighbour: %+v, %v", h, err)
	}
	// A runner that slept through it writes nothing, not even into another job of the same name.
	if _, err := store.Create(ctx(t), job("deleted"), strings.NewReader(manifest(31))); err != nil {
		t.Fatal(err)
	}
	l.Doubt()
	err = l.PutResult(ctx(t), v, all[25], result(l, all[25], "x"))
	if !errors.Is(err, jobs.ErrHeld) && !errors.Is(err, jobs.ErrTorn) {
		t.Errorf("a result of the old job: %v", err)
	}
	if err := l.Advance(ctx(t), func(*jobs.Head) {}); err == nil {
		t.Error("the old runner moved the new head")
	}
}
