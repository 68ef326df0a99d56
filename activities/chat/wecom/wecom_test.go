package wecom_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/chat"
	"github.com/understudy-dr/understudy/activities/chat/chattest"
	"github.com/understudy-dr/understudy/activities/chat/wecom"
	"github.com/understudy-dr/understudy/tests/fakewecom"
)

const strange = "11111111-somebody-elses"

// clock is one that jumps: whoever waits for it does not wait.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	fired := make(chan time.Time, 1)
	fired <- c.now
	return fired
}

func TestConformance(t *testing.T) {
	chattest.Run(t, func(t *testing.T) chattest.Fixture {
		server, c := start(t)
		return chattest.Fixture{
			Messenger: connect(t, server, c, fakewecom.Key),
			Again:     func() chat.Messenger { return connect(t, server, c, fakewecom.Key) },
			Stranger:  connect(t, server, c, strange),
			Secrets:   []string{fakewecom.Key, strange},
			Chat:      breakable{server, c},
			Pause:     time.Minute,
		}
	})
}

// breakable breaks the fake as the suite asks.
type breakable struct {
	*fakewecom.Running
	clock *clock
}

func (b breakable) Buttons() []string { return nil }

func (b breakable) Heal() {
	b.Running.Heal()
	b.clock.After(time.Minute)
}

func (b breakable) Break(f chattest.Fault) {
	b.Inject(map[chattest.Fault]fakewecom.Fault{
		chattest.Limited:  {Code: 45009},
		chattest.Hanging:  {Hang: time.Hour},
		chattest.Failing:  {Status: 500},
		chattest.Nonsense: {Body: "<html>wrong door</html>"},
		chattest.Empty:    {Body: "{}"},
		chattest.Dropping: {Drop: true},
		chattest.Losing:   {Drop: true, Arrives: true, Times: 1},
	}[f])
}

// However fast news come, WeCom is never asked for more than it takes, and no message is refused for it.
func TestNeverMoreThanTwentyAMinute(t *testing.T) {
	server, c := start(t)
	m := connect(t, server, c, fakewecom.Key)
	ref, err := m.Post(t.Context(), "", chat.Message{Headline: "state 0"}, "k", false)
	if err != nil {
		t.Fatal(err)
	}
	began := c.Now()
	for i := range 200 {
		if err := m.Update(t.Context(), ref, chat.Message{Headline: fmt.Sprintf("state %d", i+1)}); err != nil {
			t.Fatal(err)
		}
	}
	messages := server.Messages()
	for i := range messages {
		if i >= 20 && messages[i].At.Sub(messages[i-20].At) < time.Minute {
			t.Fatalf("messages %d to %d came within a minute", i-20, i)
		}
	}
	if len(messages) != 201 || server.Calls() != 201 || messages[7].At != began || c.Now().Sub(began) > 17*time.Minute {
		t.Errorf("%d messages with %d calls in %s, the eighth after %s", len(messages), server.Calls(), c.Now().Sub(began), messages[7].At.Sub(began))
	}
}

// Where WeCom says that it is enough, nobody asks again before the minute is over.
func TestAPauseIsKept(t *testing.T) {
	server, c := start(t)
	m := connect(t, server, c, fakewecom.Key)
	server.Inject(fakewecom.Fault{Code: 45009, Times: 1})
	var limited *chat.RateLimitError
	for i, after := range []time.Duration{60 * time.Second, 60 * time.Second, 20 * time.Second} {
		if i == 2 {
			c.After(40 * time.Second)
		}
		if _, err := m.Post(t.Context(), "", chat.Message{Headline: "x"}, "k", false); !errors.As(err, &limited) || limited.After != after {
			t.Errorf("post %d: %v, want a pause of %s", i, err, after)
		}
	}
	c.After(15 * time.Second) // what is left is short enough to wait for
	if _, err := m.Post(t.Context(), "", chat.Message{Headline: "last"}, "k", false); err != nil || server.Calls() != 2 {
		t.Errorf("after the pause: %v, %d calls", err, server.Calls())
	}
	server.Inject(fakewecom.Fault{RetryAfter: 9 * time.Second, Times: 1})
	if _, err := m.Post(t.Context(), "", chat.Message{Headline: "x"}, "k", false); !errors.As(err, &limited) || limited.After != 9*time.Second {
		t.Errorf("a proxy's pause: %v", err)
	}
}

// A storm: every service falls at once, and each story comes back with what is newest until it is told.
func TestAStormIsToldInDigests(t *testing.T) {
	server, c := start(t)
	m := connect(t, server, c, fakewecom.Key)
	const stories = 1000
	began := c.Now()
	var all sync.WaitGroup
	for i := range stories {
		all.Go(func() {
			for state := 0; ; state++ {
				final := chat.Message{Color: chat.Good, Headline: fmt.Sprintf("service-%d: recovered", i), Lines: []string{fmt.Sprintf("state %d", state)},
					Links: []chat.Link{{Text: "Details", URL: fmt.Sprintf("https://understudy.internal:8400/recoveries/service-%d-7", i)}}}
				err := m.Update(t.Context(), chat.Ref{ID: fmt.Sprintf("announcement/service-%d/7", i)}, final)
				var limited *chat.RateLimitError
				if errors.As(err, &limited) {
					c.After(limited.After)
					continue
				}
				if err != nil {
					t.Error(err)
				}
				return
			}
		})
	}
	all.Wait()
	seen := server.Transcript()
	for i := range stories {
		for _, want := range []string{fmt.Sprintf("service-%d: recovered\n", i), fmt.Sprintf("(https://understudy.internal:8400/recoveries/service-%d-7)", i)} {
			if strings.Count(seen, want) != 1 {
				t.Fatalf("people read %q %d times", want, strings.Count(seen, want))
			}
		}
	}
	if n := len(server.Messages()); n > 80 || server.Calls() != n {
		t.Errorf("%d messages, %d calls", n, server.Calls())
	}
	t.Logf("%d stories in %d messages within %s", stories, len(server.Messages()), c.Now().Sub(began))
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	for code, hint := range map[int]string{93000: "check chat.wecom.key", 40058: "please report it", 40008: "please report it"} {
		server, c := start(t)
		m := connect(t, server, c, fakewecom.Key)
		server.Inject(fakewecom.Fault{Code: code})
		_, err := m.Post(t.Context(), "", chat.Message{Headline: "x"}, "k", false)
		if !errors.Is(err, chat.ErrRefused) || !strings.Contains(err.Error(), hint) || !strings.Contains(err.Error(), fmt.Sprint(code)) {
			t.Errorf("%d: %v", code, err)
		}
	}
	server, c := start(t)
	m := connect(t, server, c, fakewecom.Key)
	server.Inject(fakewecom.Fault{Code: -1, Times: 1})
	if _, err := m.Post(t.Context(), "", chat.Message{Headline: "x"}, "k", false); !errors.Is(err, chat.ErrUnavailable) {
		t.Errorf("a busy system: %v", err)
	}
	server.Inject(fakewecom.Fault{Body: `{"errcode":1,"errmsg":"bad key ` + fakewecom.Key + `\nx"}`, Times: 1})
	if _, err := m.Post(t.Context(), "", chat.Message{Headline: "x"}, "k", false); err == nil || strings.Contains(err.Error(), fakewecom.Key) || strings.Contains(err.Error(), "\n") {
		t.Errorf("the key came back: %v", err)
	}
	server.Close()
	if _, err := m.Post(t.Context(), "", chat.Message{Headline: "x"}, "k", false); !errors.Is(err, chat.ErrUnavailable) || strings.Contains(err.Error(), fakewecom.Key) {
		t.Errorf("nobody there: %v", err)
	}
}

// The key is in the address, so a redirect must not carry it elsewhere.
func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the redirect was followed")
	}))
	defer elsewhere.Close()
	door := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer door.Close()
	m, err := wecom.New(wecom.Config{Key: fakewecom.Key, APIURL: door.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Post(t.Context(), "", chat.Message{Headline: "x"}, "k", false); !errors.Is(err, chat.ErrUnavailable) {
		t.Error(err)
	}
}

// A log alone is text: nothing in it is markup, and it is cut to what text may have.
func TestLogsAreText(t *testing.T) {
	server, c := start(t)
	m := connect(t, server, c, fakewecom.Key)
	lines := []string{"03:12:05.123 prove (hot): done. [1] *x* `y` <@mia>"}
	for i := range 100 {
		lines = append(lines, fmt.Sprintf("line %d %s", i, strings.Repeat("语", 20)))
	}
	if err := m.Reply(t.Context(), chat.Ref{ID: "announcement/fun-asr/7"}, lines, "l", false); err != nil {
		t.Fatal(err)
	}
	said := server.Messages()[0]
	if said.Type != "text" || !strings.HasPrefix(said.Content, "announcement/fun-asr/7\n03:12:05.123 prove (hot): done. [1] *x* `y` ＜@mia>\nline 0 ") ||
		!strings.Contains(said.Content, "more") || len(said.Content) > 2048 || len(server.Pings()) > 0 {
		t.Errorf("said as %s, %d bytes:\n%s", said.Type, len(said.Content), said.Content)
	}
}

func TestNewRefusesUnusableConfigurations(t *testing.T) {
	for name, c := range map[string]wecom.Config{
		"no key":       {},
		"a line break": {Key: "k\n"},
		"no URL":       {Key: "k", APIURL: "qyapi.weixin.qq.com"},
	} {
		if _, err := wecom.New(c); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func FuzzMessagesFit(f *testing.F) {
	f.Add("fun-asr: recovered", "Verdict", "Dead", "done: diagnose", 3)
	f.Add("# <@all> &lt;@x&gt;", "\xff", strings.Repeat("语", 2000), strings.Repeat("*", 5000), 40)
	server, err := fakewecom.Start("127.0.0.1:0", fakewecom.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(server.Close)
	f.Fuzz(func(t *testing.T, headline, name, value, line string, n int) {
		c := newClock()
		m, err := wecom.New(wecom.Config{Key: fakewecom.Key, APIURL: server.URL, Now: c.Now, After: c.After})
		if err != nil {
			t.Fatal(err)
		}
		msg := chat.Message{Color: chat.Asking, Headline: headline}
		for range min(max(n, 0), 100) {
			msg.Fields = append(msg.Fields, chat.Field{Name: name, Value: value})
			msg.Lines = append(msg.Lines, line)
			msg.Links = append(msg.Links, chat.Link{Text: name, URL: "https://" + value})
			msg.Actions = append(msg.Actions, chat.Action{Text: line})
		}
		var limited *chat.RateLimitError
		if _, err := m.Post(t.Context(), "", msg, "k", false); err != nil && !errors.As(err, &limited) {
			t.Error(err)
		}
		if err := m.Reply(t.Context(), chat.Ref{ID: name}, []string{line, value, headline}, "l", false); err != nil && !errors.As(err, &limited) {
			t.Error(err)
		}
		if pings := server.Pings(); len(pings) > 0 {
			t.Errorf("called were %q", pings)
		}
	})
}

func start(t *testing.T) (*fakewecom.Running, *clock) {
	t.Helper()
	c := newClock()
	server, err := fakewecom.Start("127.0.0.1:0", fakewecom.Options{Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server, c
}

func connect(t *testing.T, server *fakewecom.Running, c *clock, key string) *wecom.Messenger {
	t.Helper()
	m, err := wecom.New(wecom.Config{Key: key, APIURL: server.URL, Now: c.Now, After: c.After})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
