// Package settingstest is the conformance suite of config sources. Every
// implementation passes it against the real component.
package settingstest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/settings"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// short is how long a source may hang in these tests.
	short = 300 * time.Millisecond
	// long is enough for a source to answer on a busy machine.
	long = 30 * time.Second
)

// Fixture is a config center, empty but for what other tests put under other keys.
type Fixture struct {
	Source settings.Source
	// Ref names one key of the config center.
	Ref func(key string) runbooks.Source
	// Put and Delete change what the config center holds.
	Put    func(key, value string)
	Delete func(key string)
	// Stop makes the config center hang; Continue ends that.
	Stop, Continue func()
	// Kill ends it; Restart brings it back with its values.
	Kill, Restart func()
}

// Run runs the suite.
func Run(t *testing.T, make func(t *testing.T) Fixture) {
	for name, test := range map[string]func(*testing.T, Fixture){
		"values":        values,
		"changes":       changes,
		"size":          size,
		"hang":          hang,
		"crash":         crash,
		"ended context": endedContext,
	} {
		t.Run(name, func(t *testing.T) { test(t, make(t)) })
	}
}

func values(t *testing.T, f Fixture) {
	for _, test := range []struct {
		name, key, value, want string
		err                    error
	}{
		{name: "plain", key: "values/plain", value: "2512.1", want: "2512.1"},
		{name: "final newline", key: "values/newline", value: "2512.1\n", want: "2512.1"},
		{name: "final newline of Windows", key: "values/crlf", value: "2512.1\r\n", want: "2512.1"},
		{name: "only one newline", key: "values/newlines", value: "\na\n\n", want: "\na\n"},
		{name: "spaces stay", key: "values/spaces", value: " a ", want: " a "},
		{name: "unicode", key: "values/热词", value: "阿里巴巴 20\n😀 \u2028", want: "阿里巴巴 20\n😀 \u2028"},
		{name: "hostile value", key: "values/hostile", value: "a\x00b;'\"<>&\\%00 ${HOME} `id`\r\n\r\nGET / HTTP/1.1", want: "a\x00b;'\"<>&\\%00 ${HOME} `id`\r\n\r\nGET / HTTP/1.1"},
		{name: "hostile key", key: "values/a b;'\"?x=1&y#z%2e%2e\n%00", value: "found", want: "found"},
		{name: "empty", key: "values/empty", value: "", err: settings.ErrMissing},
		{name: "only a newline", key: "values/blank", value: "\n", err: settings.ErrMissing},
		{name: "no text", key: "values/binary", value: "\xff\xfe\x00", err: settings.ErrUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			f.Put(test.key, test.value)
			expect(t, f, test.key, test.want, test.err)
		})
	}
	for _, key := range []string{"values/absent", "values", "values/plain/below", "values/plai", "values/absent\n\"?"} {
		expect(t, f, key, "", settings.ErrMissing)
	}
}

func changes(t *testing.T, f Fixture) {
	f.Put("changes", "first")
	expect(t, f, "changes", "first", nil)
	f.Put("changes", "second")
	expect(t, f, "changes", "second", nil)
	f.Delete("changes")
	expect(t, f, "changes", "", settings.ErrMissing)
	f.Put("changes", "third")
	expect(t, f, "changes", "third", nil)
}

func size(t *testing.T, f Fixture) {
	large := strings.Repeat("热词 20\n", settings.MaxSize/20)
	f.Put("large", large)
	expect(t, f, "large", strings.TrimSuffix(large, "\n"), nil)
	f.Put("huge", strings.Repeat("x", settings.MaxSize+1))
	expect(t, f, "huge", "", settings.ErrUnavailable)
}

func hang(t *testing.T, f Fixture) {
	f.Put("hang", "value")
	expect(t, f, "hang", "value", nil)
	f.Stop()
	_, err := read(f, "hang", short)
	unavailable(t, err)
	f.Continue()
	expect(t, f, "hang", "value", nil)
}

func crash(t *testing.T, f Fixture) {
	f.Put("crash", "value")
	expect(t, f, "crash", "value", nil)
	f.Kill()
	_, err := read(f, "crash", short)
	unavailable(t, err)
	f.Restart()
	expect(t, f, "crash", "value", nil)
}

func endedContext(t *testing.T, f Fixture) {
	f.Put("ended", "value")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := f.Source.Read(ctx, f.Ref("ended"))
	unavailable(t, err)
}

func read(f Fixture, key string, patience time.Duration) (settings.Values, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return f.Source.Read(ctx, f.Ref(key))
}

func expect(t *testing.T, f Fixture, key, want string, sentinel error) {
	t.Helper()
	got, err := read(f, key, long)
	if sentinel != nil {
		if !errors.Is(err, sentinel) || got != nil {
			t.Errorf("%q: got %.80q, %v; want %v", key, got, err, sentinel)
		}
		return
	}
	if err != nil || len(got) != 1 {
		t.Errorf("%q: got %.80q, %v; want one value", key, got, err)
		return
	}
	for _, value := range got {
		if value != want {
			t.Errorf("%q: got %.80q, want %.80q", key, value, want)
		}
	}
}

func unavailable(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, settings.ErrUnavailable) || errors.Is(err, settings.ErrMissing) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}
