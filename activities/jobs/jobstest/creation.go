package jobstest

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/activities/jobs"
)

func creation(t *testing.T, f Fixture) {
	store := jobs.NewStore(f.Open())
	_, _, err := store.Open(ctx(t), "nightly")
	wants(t, "a job that is not there", err, jobs.ErrMissing)
	text := "\xef\xbb\xbf" + `{"audio_filepath": "a.wav", "duration": 1.5, "x": 1}` + "\r\n\r\n  \n" + `{"audio_filepath": "s3://audio/calls/b/语音 1.wav", "duration": 2}`
	j, err := store.Create(ctx(t), job("nightly"), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if j.Manifest.Items != 2 || j.Manifest.Seconds != 3.5 || j.Manifest.Bytes != int64(len(text)) || j.Concurrency != 4 || j.Attempts != 3 || j.OnModelChange != jobs.FinishOld {
		t.Errorf("created %+v", j)
	}
	opened, h, err := jobs.NewStore(f.Open()).Open(ctx(t), "nightly")
	if err != nil || fmt.Sprint(opened) != fmt.Sprint(j) || h.State != jobs.Waiting || h.Round != 1 {
		t.Fatalf("opened %+v, %+v, %v", opened, h, err)
	}
	// Again is fine, another job of the same name is not.
	again := job("nightly")
	again.CreatedBy = "bob"
	if got, err := store.Create(ctx(t), again, strings.NewReader(text)); err != nil || got.CreatedBy != "ann" {
		t.Errorf("again: %+v, %v", got, err)
	}
	_, err = store.Create(ctx(t), job("nightly"), strings.NewReader(manifest(3)))
	wants(t, "another manifest", err, jobs.ErrExists)
	again.Params.Language = "zh"
	_, err = store.Create(ctx(t), again, strings.NewReader(text))
	wants(t, "other parameters", err, jobs.ErrExists)
	for name, change := range map[string]func(*jobs.Job){
		"no id":               func(j *jobs.Job) { j.ID = "" },
		"an id that climbs":   func(j *jobs.Job) { j.ID = "../nightly" },
		"an id with a slash":  func(j *jobs.Job) { j.ID = "a/b" },
		"an id in capitals":   func(j *jobs.Job) { j.ID = "Nightly" },
		"an id without end":   func(j *jobs.Job) { j.ID = strings.Repeat("a", 64) },
		"no base":             func(j *jobs.Job) { j.Base = "" },
		"a relative base":     func(j *jobs.Job) { j.Base = "calls" },
		"a base that climbs":  func(j *jobs.Job) { j.Base = "s3://audio/../x" },
		"an unknown policy":   func(j *jobs.Job) { j.OnModelChange = "mix" },
		"an unknown dialect":  func(j *jobs.Job) { j.Params.Dialect = "klingon" },
		"negative attempts":   func(j *jobs.Job) { j.Attempts = -1 },
		"a path and no slash": func(j *jobs.Job) { j.Params.Path = "asr" },
	} {
		bad := job("bad")
		change(&bad)
		_, err := store.Create(ctx(t), bad, strings.NewReader(text))
		wants(t, name, err, jobs.ErrInvalid)
	}
}

func badManifests(t *testing.T, f Fixture) {
	store := jobs.NewStore(f.Open())
	for text, says := range map[string]string{
		"":              "it has no items",
		"\n \n":         "it has no items",
		"not json\n":    "line 1: it is no JSON object",
		manifest(3)[1:]: "line 1: it is no JSON object",
		manifest(2) + `{"audio_filepath": "1.wav", "duration": 3}`: "line 3: audio_filepath: the same audio as in line 2",
	} {
		_, err := store.Create(ctx(t), job("bad"), strings.NewReader(text))
		wants(t, says, err, jobs.ErrInvalid)
		var full *jobs.ManifestError
		if !errors.As(err, &full) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %q", err, says)
		}
	}
	if all, err := store.Jobs(ctx(t)); err != nil || len(all) != 0 {
		t.Errorf("something was created: %v, %v", all, err)
	}
}

func pages(t *testing.T, f Fixture) {
	const n = 300
	store, j := create(t, f, "paged", n)
	all := items(t, store, j)
	if len(all) != n || all[299].After != (jobs.Position{Item: n, Byte: j.Manifest.Bytes}) {
		t.Fatalf("%d items, the last %+v", len(all), all[len(all)-1].After)
	}
	for _, from := range []jobs.Position{{}, all[0].After, all[99].After, {Item: 100}, all[298].After} {
		reader := store.Items(j, from)
		for at := from.Item; at < n; {
			page, err := reader.Next(ctx(t), 64)
			if err != nil || len(page) == 0 {
				t.Fatalf("from %+v at %d: %v", from, at, err)
			}
			for _, item := range page {
				if item.Index != at || item.AudioPath != fmt.Sprintf("%d.wav", at) || item.Seconds != float64(at+1) || item.After != all[at].After {
					t.Fatalf("from %+v at %d: %+v", from, at, item)
				}
				at++
			}
		}
		if _, err := reader.Next(ctx(t), 64); err != io.EOF {
			t.Errorf("behind the end: %v", err)
		}
	}
	_, err := store.Items(j, jobs.Position{Item: 5, Byte: all[4].After.Byte + 1}).Next(ctx(t), 1)
	wants(t, "a position within a line", err, jobs.ErrTorn)
	_, err = store.Items(j, jobs.Position{Item: 298, Byte: all[298].After.Byte}).Next(ctx(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	shorter := j
	shorter.Manifest.Bytes, shorter.Manifest.Items = all[9].After.Byte, 20
	_, err = store.Items(shorter, all[9].After).Next(ctx(t), 64)
	wants(t, "a manifest with fewer items than it should have", err, jobs.ErrTorn)
	longer := j
	longer.Manifest.Bytes += 10
	_, err = store.Items(longer, jobs.Position{}).Next(ctx(t), 64)
	wants(t, "a manifest that is cut off", err, jobs.ErrTorn)
}

func tornHeads(t *testing.T, f Fixture) {
	o := f.Open()
	for i, tt := range []struct{ name, content string }{
		{"job.json", ""}, {"job.json", "{"}, {"job.json", `{"version":1,"id":"other"}`}, {"job.json", `{"version":2}`}, {"job.json", "[]"},
		{"head.json", ""}, {"head.json", `{"version":1`}, {"head.json", `{"version":1,"job":"other","state":"waiting"}`},
		{"head.json", `{"version":1,"job":"ID","state":"dancing"}`}, {"head.json", `{"version":1,"job":"ID","state":"waiting","epoch":-1}`},
		{"head.json", `{"version":1,"job":"ID","state":"waiting","window":{"item":9,"end":9}}`},
		{"head.json", `{"version":1,"job":"ID","state":"waiting","variants":[{"id":"../x","revision":"1"}]}`},
	} {
		id := fmt.Sprintf("torn-%d", i)
		store, _ := create(t, f, id, 3)
		content := strings.ReplaceAll(tt.content, "ID", id)
		put(t, o, id+"/"+tt.name, content)
		_, _, err := store.Open(ctx(t), id)
		wants(t, content, err, jobs.ErrTorn)
		_, err = store.Take(ctx(t), id, jobs.Claim{Holder: "a"})
		wants(t, content, err, jobs.ErrTorn)
		if got := get(t, o, id+"/"+tt.name); got != content {
			t.Errorf("%q became %q", content, got)
		}
	}
}

func listOfJobs(t *testing.T, f Fixture) {
	o := f.Open()
	store := jobs.NewStore(o)
	if all, err := store.Jobs(ctx(t)); err != nil || len(all) != 0 {
		t.Fatalf("%v, %v", all, err)
	}
	for _, id := range []string{"b", "a", "c-1"} {
		create(t, f, id, 2)
	}
	create(t, f, "torn", 2)
	put(t, o, "torn/head.json", "{")
	put(t, o, "Not-A-Job/x", "x")
	put(t, o, "half/manifest-0123.jsonl", "x")
	all, err := store.Jobs(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range all {
		got = append(got, fmt.Sprint(l.ID, " ", l.Job.Manifest.Items, " ", l.Head.State, " ", errors.Is(l.Err, jobs.ErrTorn)))
	}
	if want := "[a 2 waiting false b 2 waiting false c-1 2 waiting false torn 2  true]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %v", got, want)
	}
}

func unfinished(t *testing.T, f Fixture) {
	o := f.Open()
	// A creator who died before it wrote the head.
	store, j := create(t, f, "headless", 3)
	if err := o.Delete(ctx(t), []string{"headless/head.json"}); err != nil {
		t.Fatal(err)
	}
	if _, h, err := store.Open(ctx(t), "headless"); err != nil || h.State != jobs.Waiting || h.Job != "headless" {
		t.Errorf("%+v, %v", h, err)
	}
	// A deletion that ended before the head went.
	if err := store.Delete(ctx(t), "headless", "done with it"); err != nil {
		t.Fatal(err)
	}
	put(t, o, "headless/head.json", `{"version":1,"job":"headless","state":"deleted"}`)
	if _, err := store.Create(ctx(t), job("headless"), strings.NewReader(manifest(4))); err != nil {
		t.Fatal(err)
	}
	if _, h, err := store.Open(ctx(t), "headless"); err != nil || h.State != jobs.Waiting {
		t.Errorf("%+v, %v", h, err)
	}
	// One that ended before that, and is repeated.
	store, j = create(t, f, "lingering", 3)
	l := take(t, f, "lingering", 1, "a")
	done(t, l, items(t, store, j), 0, 3)
	put(t, o, "lingering/head.json", `{"version":1,"job":"lingering","state":"deleted"}`)
	if all, err := store.Jobs(ctx(t)); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
	_, err := store.Create(ctx(t), job("lingering"), strings.NewReader(manifest(3)))
	wants(t, "creating what is being deleted", err, jobs.ErrExists)
	if err := store.Delete(ctx(t), "lingering", "again"); err != nil {
		t.Fatal(err)
	}
	if keys, err := o.List(ctx(t), "lingering/", "", 0); err != nil || len(keys) != 0 {
		t.Errorf("left: %q, %v", keys, err)
	}
}
