package stage

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestParseFault(t *testing.T) {
	for text, want := range map[string]Fault{
		"none":                           {Mode: None},
		"crash-mid":                      {Mode: CrashMid},
		`{"mode":"slow","delay":"2s"}`:   {Mode: Slow, Delay: "2s"},
		`{"mode":"crash","after":3}`:     {Mode: Crash, After: 3},
		`{"mode":"wrong","file":"bad."}`: {Mode: Wrong, File: "bad."},
	} {
		if got, err := ParseFault(text); err != nil || got != want {
			t.Errorf("ParseFault(%q) = %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "explode", "{", `{"mode":""}`, `{"mode":"hang","after":"x"}`,
		"slow", `{"mode":"slow","delay":"soon"}`, `{"mode":"hang","delay":"2s"}`, `{"mode":"hang","after":-1}`,
	} {
		if got, err := ParseFault(text); err == nil {
			t.Errorf("ParseFault(%q) = %+v, want an error", text, got)
		}
	}
}

func TestFaultsBeginWhenTold(t *testing.T) {
	type ask struct {
		file string // of an inference; empty for a look
		want Mode
	}
	for name, c := range map[string]struct {
		fault Fault
		asks  []ask
	}{
		"at once":            {Fault{Mode: Hang}, []ask{{"", Hang}, {"a.wav", Hang}}},
		"after two":          {Fault{Mode: Error, After: 2}, []ask{{"a.wav", None}, {"", None}, {"a.wav", None}, {"", Error}, {"a.wav", Error}}},
		"on one file":        {Fault{Mode: CrashMid, File: "poison"}, []ask{{"a.wav", None}, {"", None}, {"my-poison.wav", CrashMid}, {"a.wav", None}}},
		"second of one file": {Fault{Mode: Wrong, File: "a.", After: 1}, []ask{{"b.wav", None}, {"a.wav", None}, {"", None}, {"a.wav", Wrong}}},
	} {
		t.Run(name, func(t *testing.T) {
			var f faults
			f.set(c.fault)
			for i, ask := range c.asks {
				got := f.now()
				if ask.file != "" {
					got = f.next(ask.file)
				}
				if got.Mode != ask.want {
					t.Errorf("request %d suffers %s, want %s", i, got.Mode, ask.want)
				}
			}
		})
	}
}

func TestAHeldInferenceHoldsTheEngine(t *testing.T) {
	s := New(Options{})
	s.Suffer(Fault{Mode: Hold, File: "long"})
	order := make(chan string, 2)
	infer := func(file string) {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		if _, err := s.Infer(httptest.NewRecorder(), r, file, func() error { order <- file; return nil }); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	go infer("long.wav")
	for s.engine.TryLock() { // until the held one has it
		s.engine.Unlock()
	}
	go infer("short.wav")
	s.Suffer(Fault{Mode: Hold, File: "longer"}) // still held
	select {
	case file := <-order:
		t.Fatalf("%s was heard while the engine was held", file)
	default:
	}
	s.Suffer(Fault{Mode: None})
	if first, second := <-order, <-order; first != "long.wav" || second != "short.wav" {
		t.Errorf("first %s, then %s", first, second)
	}
}
