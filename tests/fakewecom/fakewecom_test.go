package fakewecom_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/tests/fakewecom"
)

// The fake must refuse what WeCom refuses, or what passes here fails there.
func TestRefusals(t *testing.T) {
	server := start(t, fakewecom.Options{})
	text := func(n int) string { return `{"msgtype":"text","text":{"content":"` + strings.Repeat("x", n) + `"}}` }
	markdown := func(content string) string {
		return `{"msgtype":"markdown","markdown":{"content":"` + content + `"}}`
	}
	for _, tt := range []struct {
		name, key, body string
		want            int
	}{
		{"well", fakewecom.Key, text(2048), 0},
		{"text too long", fakewecom.Key, text(2049), 40058},
		{"markdown", fakewecom.Key, markdown(strings.Repeat("x", 4096)), 0},
		{"markdown too long", fakewecom.Key, markdown(strings.Repeat("x", 4097)), 40058},
		{"markdown too long in bytes", fakewecom.Key, markdown(strings.Repeat("语", 1366)), 40058},
		{"another robot", "other", text(1), 93000},
		{"no robot", "", text(1), 93000},
		{"no content", fakewecom.Key, text(0), 44004},
		{"content of another type", fakewecom.Key, `{"msgtype":"markdown","text":{"content":"x"}}`, 44004},
		{"unknown type", fakewecom.Key, `{"msgtype":"song","text":{"content":"x"}}`, 40008},
		{"no JSON", fakewecom.Key, `msgtype=text`, 47001},
		{"no UTF-8", fakewecom.Key, markdown("\xff"), 47001},
	} {
		if code := send(t, server, tt.key, tt.body); code != tt.want {
			t.Errorf("%s: errcode %d, want %d", tt.name, code, tt.want)
		}
	}
	if n := len(server.Messages()); n != 2 {
		t.Errorf("%d messages arrived, want 2", n)
	}
}

func TestTwentyAMinute(t *testing.T) {
	now := time.Now()
	server := start(t, fakewecom.Options{Now: func() time.Time { return now }})
	body := `{"msgtype":"text","text":{"content":"x"}}`
	for i := range fakewecom.PerMinute {
		now = now.Add(time.Second)
		if code := send(t, server, fakewecom.Key, body); code != 0 {
			t.Fatalf("message %d: errcode %d", i+1, code)
		}
	}
	for range 3 { // refused ones are not counted
		if code := send(t, server, fakewecom.Key, body); code != 45009 {
			t.Errorf("one more: errcode %d", code)
		}
	}
	now = now.Add(41 * time.Second) // the first is a minute old
	if code := send(t, server, fakewecom.Key, body); code != 0 {
		t.Errorf("a minute later: errcode %d", code)
	}
	if code := send(t, server, fakewecom.Key, body); code != 45009 {
		t.Errorf("and one more: errcode %d", code)
	}
}

func TestWhatPeopleSee(t *testing.T) {
	var told []string
	server := start(t, fakewecom.Options{OnMessage: func(text string) { told = append(told, text) }})
	for _, m := range []map[string]any{
		{"msgtype": "markdown", "markdown": map[string]any{"content": "### <font color=\"info\">**done**</font>\n> Service: `asr`\n[Details](https://console.example/1)\n<@mia> 1 * 2 # 3"}},
		{"msgtype": "text", "text": map[string]any{"content": "# [a](b)", "mentioned_list": []string{"@all", "bo"}, "mentioned_mobile_list": []string{"138"}}},
		{"msgtype": "markdown", "markdown": map[string]any{"content": "&lt;@kim&gt;"}},
	} {
		body, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if code := send(t, server, fakewecom.Key, string(body)); code != 0 {
			t.Fatal(code)
		}
	}
	want := "robot\n  done\n  > Service: asr\n  Details (https://console.example/1)\n  @mia 1 * 2 # 3\nrobot\n  # [a](b)\nrobot\n  <@kim>\n"
	if server.Transcript() != want {
		t.Errorf("people see:\n%swant:\n%s", server.Transcript(), want)
	}
	if got := server.Pings(); !slices.Equal(got, []string{"@mia", "@all", "@bo", "@138", "@kim"}) {
		t.Errorf("called were %q", got)
	}
	if len(told) != 3 || told[1] != "# [a](b)" {
		t.Errorf("told: %q", told)
	}
}

func TestFaults(t *testing.T) {
	server := start(t, fakewecom.Options{})
	body := `{"msgtype":"text","text":{"content":"x"}}`
	server.Inject(fakewecom.Fault{Code: -1, Times: 1})
	server.Inject(fakewecom.Fault{Code: 45009, Times: 1, Arrives: true})
	server.Inject(fakewecom.Fault{Hang: time.Millisecond, Times: 1})
	for i, want := range []int{-1, 45009, 0, 0} {
		if code := send(t, server, fakewecom.Key, body); code != want {
			t.Errorf("call %d: errcode %d, want %d", i+1, code, want)
		}
	}
	if n := len(server.Messages()); n != 3 {
		t.Errorf("%d messages arrived, want 3", n)
	}
	server.Inject(fakewecom.Fault{Status: 500})
	if resp := post(t, server, body); resp.StatusCode != 500 {
		t.Errorf("HTTP %d, want 500", resp.StatusCode)
	}
	server.Heal()
	server.Inject(fakewecom.Fault{RetryAfter: 3 * time.Second})
	if resp := post(t, server, body); resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "3" {
		t.Errorf("HTTP %d, after %s", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	server.Heal()
	server.Inject(fakewecom.Fault{Drop: true, Times: 1})
	if _, err := http.Post(server.URL+"cgi-bin/webhook/send?key="+fakewecom.Key, "application/json", strings.NewReader(body)); err == nil {
		t.Error("the connection was not dropped")
	}
	if calls := server.Calls(); calls != 7 {
		t.Errorf("%d calls, want 7", calls)
	}
	resp, err := http.Get(server.URL + "cgi-bin/webhook/send?key=" + fakewecom.Key)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("GET: %s", resp.Status)
	}
}

func post(t *testing.T, server *fakewecom.Running, body string) *http.Response {
	t.Helper()
	resp, err := http.Post(server.URL+"cgi-bin/webhook/send?key="+fakewecom.Key, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

func send(t *testing.T, server *fakewecom.Running, key, body string) int {
	t.Helper()
	resp, err := http.Post(server.URL+"cgi-bin/webhook/send?key="+key, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	var answer struct {
		Code *int   `json:"errcode"`
		Why  string `json:"errmsg"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Code == nil || answer.Why == "" {
		t.Fatalf("answered %s", text)
	}
	return *answer.Code
}

func start(t *testing.T, o fakewecom.Options) *fakewecom.Running {
	t.Helper()
	server, err := fakewecom.Start("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}
