package jobs

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestCheckManifest(t *testing.T) {
	for name, tt := range map[string]struct{ base, line, says string }{
		"as NeMo writes it":         {"s3://audio/calls", `{"audio_filepath": "a/b.wav", "duration": 1.5, "text": "x"}`, ""},
		"an absolute path":          {"/data", `{"audio_filepath": "/data/a.wav", "duration": 1}`, ""},
		"a URL":                     {"s3://audio/calls", `{"audio_filepath": "s3://audio/calls/a.wav", "duration": 1}`, ""},
		"a name in another script":  {"/data", `{"audio_filepath": "录音 (第1段) é.wav", "duration": 1}`, ""},
		"the whole disk":            {"/", `{"audio_filepath": "/etc/a.wav", "duration": 1}`, ""},
		"dots that do not climb":    {"/data", `{"audio_filepath": "./a..b/..c.wav", "duration": 1}`, ""},
		"no JSON":                   {"/data", `a.wav 1.5`, "no JSON object"},
		"half an object":            {"/data", `{"audio_filepath": "a.wav", "dur`, "no JSON object"},
		"two objects":               {"/data", `{"audio_filepath": "a.wav", "duration": 1}{}`, "no JSON object"},
		"a list":                    {"/data", `["a.wav", 1]`, "no JSON object"},
		"not UTF-8":                 {"/data", "{\"audio_filepath\": \"a\xff.wav\", \"duration\": 1}", "not UTF-8"},
		"no path":                   {"/data", `{"duration": 1}`, "audio_filepath: missing"},
		"an empty path":             {"/data", `{"audio_filepath": "", "duration": 1}`, "audio_filepath: it is empty"},
		"a path of another type":    {"/data", `{"audio_filepath": ["a.wav"], "duration": 1}`, "audio_filepath: it must be a text"},
		"a path that is null":       {"/data", `{"audio_filepath": null, "duration": 1}`, "audio_filepath: it must be a text"},
		"a path that climbs":        {"/data", `{"audio_filepath": "../etc/passwd", "duration": 1}`, "audio_filepath: it climbs"},
		"a path that climbs within": {"/data", `{"audio_filepath": "a/../../b.wav", "duration": 1}`, "audio_filepath: it climbs"},
		"a URL that climbs":         {"s3://audio/calls", `{"audio_filepath": "s3://audio/calls/../secret/a.wav", "duration": 1}`, "audio_filepath: it climbs"},
		"a path elsewhere":          {"/data", `{"audio_filepath": "/etc/shadow", "duration": 1}`, "lies outside of /data"},
		"a path that looks alike":   {"/data", `{"audio_filepath": "/database/a.wav", "duration": 1}`, "lies outside of /data"},
		"another bucket":            {"s3://audio/calls", `{"audio_filepath": "s3://audio2/calls/a.wav", "duration": 1}`, "lies outside of s3://audio/calls"},
		"the disk instead of S3":    {"s3://audio/calls", `{"audio_filepath": "/etc/shadow", "duration": 1}`, "lies outside of s3://audio/calls"},
		"the base itself":           {"/data", `{"audio_filepath": "/data/.", "duration": 1}`, "it is a folder"},
		"a folder":                  {"/data", `{"audio_filepath": "a/", "duration": 1}`, "it is a folder"},
		"the web":                   {"/data", `{"audio_filepath": "http://169.254.169.254/latest", "duration": 1}`, "a path or an s3:// URL"},
		"another scheme":            {"/data", `{"audio_filepath": "file:///etc/passwd", "duration": 1}`, "a path or an s3:// URL"},
		"a line break in a path":    {"/data", `{"audio_filepath": "a\nb.wav", "duration": 1}`, "control character"},
		"a NUL in a path":           {"/data", `{"audio_filepath": "a\u0000.wav", "duration": 1}`, "control character"},
		"half a character":          {"/data", `{"audio_filepath": "a\ud800.wav", "duration": 1}`, "control character"},
		"a very long path":          {"/data", `{"audio_filepath": "` + strings.Repeat("a", 2000) + `", "duration": 1}`, "longer than 1024 bytes"},
		"no duration":               {"/data", `{"audio_filepath": "a.wav"}`, "duration: missing"},
		"a duration in words":       {"/data", `{"audio_filepath": "a.wav", "duration": "1.5"}`, "duration: it must be a number"},
		"no length":                 {"/data", `{"audio_filepath": "a.wav", "duration": 0}`, "duration: 0 s; there is nothing to hear"},
		"less than nothing":         {"/data", `{"audio_filepath": "a.wav", "duration": -1}`, "duration: -1 s"},
		"milliseconds":              {"/data", `{"audio_filepath": "a.wav", "duration": 5000000}`, "duration: 5e+06 s is longer than a week"},
		"beyond all numbers":        {"/data", `{"audio_filepath": "a.wav", "duration": 1e999}`, "duration: it must be a number"},
		"a very long line":          {"/data", `{"audio_filepath": "a.wav", "duration": 1, "text": "` + strings.Repeat("x", MaxLine) + `"}`, "longer than 256 KiB"},
	} {
		m, err := CheckManifest(strings.NewReader(tt.line+"\n"), tt.base)
		if tt.says == "" {
			if err != nil || m.Items != 1 || m.Bytes != int64(len(tt.line)+1) {
				t.Errorf("%s: %+v, %v", name, m, err)
			}
			continue
		}
		var wrong *ManifestError
		if !errors.As(err, &wrong) || !errors.Is(err, ErrInvalid) || wrong.Problems[0].Line != 1 || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v does not say %q", name, err, tt.says)
		}
		if err != nil && len(err.Error()) > 3000 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
}

func TestAllProblemsAreListed(t *testing.T) {
	var text strings.Builder
	text.WriteString(byteOrderMark + "\n")
	for i := range 50 {
		fmt.Fprintf(&text, `{"audio_filepath": "%d.wav", "duration": %d}`+"\r\n\r\n", i/2, i%2)
	}
	text.WriteString(`{"audio_filepath": "../1.wav"}`)
	_, err := CheckManifest(strings.NewReader(text.String()), "/data")
	var wrong *ManifestError
	if !errors.As(err, &wrong) || len(wrong.Problems) != 25+2 {
		t.Fatalf("%v", err)
	}
	if first, last := wrong.Problems[0].String(), wrong.Problems[26].String(); first != "line 2: duration: 0 s; there is nothing to hear" || !strings.HasPrefix(last, "line 102: duration: missing") {
		t.Errorf("%q to %q", first, last)
	}
	if !strings.HasSuffix(err.Error(), "and 7 more") {
		t.Error(err)
	}
	// Names of one audio are one name.
	same := `{"audio_filepath": "a/b.wav", "duration": 1}` + "\n" + `{"audio_filepath": "./a//./b.wav", "duration": 1}` + "\n" + `{"audio_filepath": "/data/a/b.wav", "duration": 1}`
	if _, err := CheckManifest(strings.NewReader(same), "/data"); !errors.As(err, &wrong) || len(wrong.Problems) != 2 {
		t.Errorf("%v", err)
	}
	many := strings.Repeat("x\n", maxProblems+5)
	if _, err := CheckManifest(strings.NewReader(many), "/data"); !errors.As(err, &wrong) || len(wrong.Problems) != maxProblems || wrong.More != 5 {
		t.Errorf("%d and %d", len(wrong.Problems), wrong.More)
	}
}

func TestResolve(t *testing.T) {
	for _, tt := range []struct{ base, name, want string }{
		{"/data", "a.wav", "/data/a.wav"},
		{"/data/", "./a.wav", "/data/a.wav"},
		{"/", "/a//b.wav", "/a/b.wav"},
		{"s3://b/p", "a.wav", "s3://b/p/a.wav"},
		{"s3://b/p/", "s3://b/p//a.wav", "s3://b/p/a.wav"},
		{"s3://b", "语音/1 2.wav", "s3://b/语音/1 2.wav"},
	} {
		if got := (Job{Base: tt.base}).Ref(Item{AudioPath: tt.name}); got != tt.want {
			t.Errorf("%s in %s is %s, want %s", tt.name, tt.base, got, tt.want)
		}
	}
}

func FuzzParseItem(f *testing.F) {
	f.Add([]byte(`{"audio_filepath": "a/b.wav", "duration": 1.5}`))
	f.Add([]byte(`{"audio_filepath": "/data/./..", "duration": "x"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if len(line) == 0 {
			return
		}
		item := parseItem(line, "/data")
		full := Job{Base: "/data"}.Ref(item)
		if len(item.Problems) == 0 && (!strings.HasPrefix(full, "/data/") || strings.Contains(full, "/../") || strings.HasSuffix(full, "/..") || item.Seconds <= 0) {
			t.Errorf("%q passes as %q, %v s", line, full, item.Seconds)
		}
	})
}
