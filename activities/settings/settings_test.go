package settings_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/activities/settings"
	"github.com/understudy-dr/understudy/runbooks"
)

func TestHash(t *testing.T) {
	prefix := runbooks.Source{Kind: settings.KindEtcd, Prefix: "fun-asr/"}
	key := runbooks.Source{Kind: settings.KindEtcd, Key: "model/version"}
	url := runbooks.Source{Kind: settings.KindHTTP, URL: "http://a/b"}
	for _, test := range []struct {
		name   string
		ref    runbooks.Source
		values settings.Values
		want   string
	}{
		// printf '%s' 2512.1 | sha256sum
		{"key", key, settings.Values{"model/version": "2512.1"}, "8efa5c9c23e2de303f37821b7d7d735f4d8c54487ba5c9ab63ad25406eea6c88"},
		{"url", url, settings.Values{"http://a/b": "2512.1"}, "8efa5c9c23e2de303f37821b7d7d735f4d8c54487ba5c9ab63ad25406eea6c88"},
		// Computed with Python's json.dumps as the documentation of Hash says.
		{"prefix", prefix, settings.Values{
			"b": "x<>&\"\\u2028 \u2028\u2029\n\t\b\f\x01\x7f/", "a/语音": "一 1.5\n二 2", "": "", "Z": "😀",
		}, "5ad8ff24613dea23b6354bc6d43410339672cf54c6dbe58eb43c4ea52c6a33c0"},
	} {
		for range 10 { // maps come in another order each time
			if got := settings.Hash(test.ref, test.values); got != test.want {
				t.Errorf("%s: got %s, want %s", test.name, got, test.want)
				break
			}
		}
	}
	different := map[string]settings.Values{
		settings.Hash(prefix, settings.Values{"a": "b", "c": "d"}):          nil,
		settings.Hash(prefix, settings.Values{"a": "d", "c": "b"}):          nil,
		settings.Hash(prefix, settings.Values{"a": "b\",\"c\":\"d"}):        nil,
		settings.Hash(prefix, settings.Values{"a": "b"}):                    nil,
		settings.Hash(prefix, settings.Values{"a": "b", "c": ""}):           nil,
		settings.Hash(prefix, settings.Values{"a": `\u2028`}):               nil,
		settings.Hash(prefix, settings.Values{"a": "\u2028"}):               nil,
		settings.Hash(prefix, settings.Values{"a": `\` + "\u2028"}):         nil,
		settings.Hash(prefix, settings.Values{"a": `\\u2028`}):              nil,
		settings.Hash(prefix, settings.Values{"a": `\` + `\` + "\u2028"}):   nil,
		settings.Hash(prefix, settings.Values{"a": `\\\u2028`, "b": "\\n"}): nil,
	}
	if len(different) != 11 {
		t.Errorf("11 different readings have %d hashes", len(different))
	}
}

func TestTidy(t *testing.T) {
	half := strings.Repeat("x", settings.MaxSize/2)
	for _, test := range []struct {
		name      string
		raw, want settings.Values
		err       error
	}{
		{name: "newlines", raw: settings.Values{"a": "1\n", "b": "2\r\n", "c": "3\r", "d": "\n\n"}, want: settings.Values{"a": "1", "b": "2", "c": "3", "d": "\n"}},
		{name: "some empty", raw: settings.Values{"a": "", "b": "2"}, want: settings.Values{"a": "", "b": "2"}},
		{name: "none", raw: settings.Values{}, err: settings.ErrMissing},
		{name: "all empty", raw: settings.Values{"a": "", "b": "\n"}, err: settings.ErrMissing},
		{name: "fits", raw: settings.Values{"": half, "b": half[1:]}, want: settings.Values{"": half, "b": half[1:]}},
		{name: "too much", raw: settings.Values{"a": half, "b": half}, err: settings.ErrUnavailable},
		{name: "no text", raw: settings.Values{"a": "\xff"}, err: settings.ErrUnavailable},
		{name: "key that is no text", raw: settings.Values{"\xff": "a"}, err: settings.ErrUnavailable},
	} {
		got, err := settings.Tidy(test.raw)
		if !errors.Is(err, test.err) || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %.80q, %v", test.name, got, err)
		}
	}
}
