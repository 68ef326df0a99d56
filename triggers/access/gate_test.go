package access_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/bcrypt"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/triggers/access"
)

// scene is a gate before a handler that says who came through.
type scene struct {
	http.Handler
	gate    *access.Gate
	file    string
	refused []string
	log     bytes.Buffer
}

// webConfig writes a web config file with users, whose passwords are their names twice.
func webConfig(t *testing.T, extra string, users ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "web.yml")
	writeUsers(t, path, extra, users...)
	return path
}

func writeUsers(t *testing.T, path, extra string, users ...string) {
	t.Helper()
	text := "basic_auth_users:\n"
	if len(users) == 0 {
		text = ""
	}
	for _, name := range users {
		hash, err := bcrypt.GenerateFromPassword([]byte(name+name), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("  %s: %s\n", name, hash)
	}
	if err := os.WriteFile(path, []byte(text+extra), 0o600); err != nil {
		t.Fatal(err)
	}
}

// four are one user for each role, and one without.
var four = []runbooks.User{{Name: "am", Role: "ingest"}, {Name: "vera", Role: "viewer"}, {Name: "rob", Role: "responder"}, {Name: "anna", Role: "approver"}}

func open(t *testing.T, edit func(o *access.Options)) *scene {
	t.Helper()
	s := &scene{}
	o := access.Options{
		Address: "127.0.0.1:8400", Open: []string{"/healthz"}, Ingest: []string{"/api/v1/alerts"}, DataDir: t.TempDir(),
		Refused: func(p access.Person, r *http.Request, why string) {
			s.refused = append(s.refused, p.Name+" "+r.URL.Path+" "+why)
		},
		Log: slog.New(slog.NewTextHandler(&s.log, nil)), Metrics: prometheus.NewRegistry(),
	}
	if edit != nil {
		edit(&o)
	}
	var err error
	if s.gate, err = access.New(o); err != nil {
		t.Fatal(err)
	}
	s.file = o.WebConfig
	s.Handler = s.gate.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := access.Of(r.Context())
		fmt.Fprintf(w, "%s|%s|%s", p.Name, p.Role, p.From)
	}))
	return s
}

func withUsers(t *testing.T) *scene {
	return open(t, func(o *access.Options) {
		o.WebConfig, o.Users = webConfig(t, "", "am", "vera", "rob", "anna", "norole"), four
	})
}

// ask sends a request; headers are pairs.
func (s *scene) ask(method, path, user string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader("{}"))
	r.Host, r.RemoteAddr = "127.0.0.1:8400", "10.0.0.7:4711"
	if user != "" {
		name, password, ok := strings.Cut(user, ":")
		if !ok {
			password = name + name
		}
		r.SetBasicAuth(name, password)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestEveryRoleAtEveryKindOfRequest(t *testing.T) {
	s := withUsers(t)
	for _, c := range []struct {
		method, path string
		allowed      string // who gets through
	}{
		{"GET", "/healthz", "nobody am vera rob anna norole"},
		{"POST", "/healthz", "rob anna"},
		{"GET", "/api/v1/services", "vera rob anna"},
		{"GET", "/metrics", "vera rob anna"},
		{"GET", "/anything/that/comes/later", "vera rob anna"},
		{"HEAD", "/api/v1/services", "vera rob anna"},
		{"POST", "/api/v1/alerts", "am rob anna"},
		{"GET", "/api/v1/alerts", "am rob anna"},
		{"POST", "/api/v1/services/x/recover", "rob anna"},
		{"DELETE", "/anything", "rob anna"},
		{"BREW", "/anything", "rob anna"},
		{"POST", "/api/v1/alerts/../pause", "rob anna"},
		{"POST", "/healthz/../api/v1/pause", "rob anna"},
	} {
		for _, who := range []string{"nobody", "am", "vera", "rob", "anna", "norole"} {
			user, want := who, http.StatusForbidden
			if who == "nobody" {
				user, want = "", http.StatusUnauthorized
			}
			if strings.Contains(" "+c.allowed+" ", " "+who+" ") {
				want = http.StatusOK
			}
			w := s.ask(c.method, c.path, user, "Idempotency-Key", "1")
			if w.Code != want {
				t.Errorf("%s %s as %s: %d, want %d: %s", c.method, c.path, who, w.Code, want, w.Body)
			}
			if want >= 400 && w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %s as %s: %s", c.method, c.path, who, w.Header().Get("Content-Type"))
			}
		}
	}
	if all := strings.Join(s.refused, "\n"); !strings.Contains(all, "vera /api/v1/services/x/recover vera has the role viewer, and this takes responder") || strings.Contains(all, "/metrics") {
		t.Errorf("for the audit:\n%s", all)
	}
}

func TestLogins(t *testing.T) {
	s := withUsers(t)
	for _, wrong := range []string{"anna:", "anna:anna", "nobody:nobodynobody", ":", "anna:" + strings.Repeat("x", 10_000)} {
		w := s.ask("GET", "/api/v1/services", wrong)
		if w.Code != http.StatusUnauthorized || !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%.20s: %d", wrong, w.Code)
		}
	}
	w := s.ask("GET", "/api/v1/services", "anna", "X-Forwarded-For", "192.168.7.7\x00<b>")
	if w.Body.String() != "anna|approver|10.0.0.7, which says that it forwards for 192.168.7.7<b>" {
		t.Errorf("who: %s", w.Body)
	}
	// A name in a header is nobody's where people log in.
	if w := s.ask("GET", "/api/v1/services", "vera", access.NameHeader, "anna"); w.Body.String() != "vera|viewer|10.0.0.7" {
		t.Errorf("who: %s", w.Body)
	}
	if strings.Contains(s.log.String(), strings.Repeat("x", 100)) || strings.Contains(s.log.String(), "annaanna") {
		t.Errorf("a password was logged:\n%s", s.log.String())
	}
}

func TestGuessersAreTurnedAwayAndPeopleAreNot(t *testing.T) {
	s := withUsers(t)
	if w := s.ask("GET", "/x", "anna"); w.Code != http.StatusOK {
		t.Fatalf("%d", w.Code)
	}
	codes := map[int]int{}
	for range 30 {
		codes[s.ask("GET", "/x", "anna:guess").Code]++
	}
	if codes[http.StatusUnauthorized] < 10 || codes[http.StatusTooManyRequests] < 15 {
		t.Errorf("the guesser got %v", codes)
	}
	// Who was let in before is known, even from the guesser's own address, and so is somebody else.
	for _, user := range []string{"anna", "rob"} {
		if w := s.ask("GET", "/x", user); w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", user, w.Code, w.Body)
		}
	}
	// An alert is never answered with what Alertmanager does not send again.
	for range 30 {
		if code := s.ask("POST", "/api/v1/alerts", "am:guess").Code; code != http.StatusUnauthorized && code != http.StatusServiceUnavailable {
			t.Errorf("alerts: %d", code)
		}
	}
	// Many names from one address.
	codes = map[int]int{}
	for i := range 150 {
		codes[s.ask("GET", "/x", fmt.Sprintf("u%d:guess", i)).Code]++
	}
	if codes[http.StatusTooManyRequests] < 30 {
		t.Errorf("the address got %v", codes)
	}
}

func TestWithoutLogins(t *testing.T) {
	s := open(t, func(o *access.Options) { o.Console = "https://dr.example.com/console" })
	if w := s.ask("GET", "/x", ""); w.Body.String() != "somebody on this host|approver|10.0.0.7" {
		t.Errorf("who: %s", w.Body)
	}
	if w := s.ask("POST", "/x", "", access.NameHeader, "anna\t"); w.Body.String() != "anna|approver|10.0.0.7" {
		t.Errorf("who: %s", w.Body)
	}
	for host, want := range map[string]int{
		"127.0.0.1:8400": 200, "127.9.9.9": 200, "localhost:8400": 200, "LOCALHOST": 200, "[::1]:8400": 200, "dr.example.com": 200, "": 200,
		"evil.example.com:8400": 421, "10.0.0.1:8400": 421, "localhost.evil.com": 421, "127.0.0.1.nip.io": 421,
	} {
		if w := s.ask("GET", "/api/v1/services", "", "Host", host); w.Code != want {
			t.Errorf("as %q: %d, want %d", host, w.Code, want)
		}
	}
}

func TestWhatABrowserWasTrickedInto(t *testing.T) {
	s := withUsers(t)
	form := func(token string) []string {
		return []string{"Content-Type", "application/x-www-form-urlencoded", "Form", token}
	}
	for name, c := range map[string]struct {
		headers []string
		want    int
	}{
		"a program":                    {nil, 200},
		"our own page":                 {[]string{"Sec-Fetch-Site", "same-origin", "Origin", "http://127.0.0.1:8400"}, 200},
		"our own page, old browser":    {[]string{"Origin", "http://127.0.0.1:8400"}, 200},
		"a foreign page":               {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		"a neighbour":                  {[]string{"Sec-Fetch-Site", "same-site", "Origin", "http://other.example.com"}, 403},
		"a foreign page, old browser":  {[]string{"Origin", "https://evil.example"}, 403},
		"no origin at all":             {[]string{"Origin", "null"}, 403},
		"a form without a token":       {form(""), 403},
		"text":                         {[]string{"Content-Type", "text/plain"}, 415},
		"multipart":                    {[]string{"Content-Type", "multipart/form-data; boundary=x"}, 415},
		"nothing":                      {[]string{"Content-Type", ""}, 415},
		"nothing, with a key":          {[]string{"Content-Type", "", "Idempotency-Key", "1"}, 200},
		"JSON of some kind":            {[]string{"Content-Type", "application/json; charset=utf-8"}, 200},
		"a foreign page that has both": {[]string{"Origin", "https://evil.example", "Idempotency-Key", "1"}, 403},
	} {
		if w := s.ask("POST", "/api/v1/pause", "rob", c.headers...); w.Code != c.want {
			t.Errorf("%s: %d, want %d: %s", name, w.Code, c.want, w.Body)
		}
	}
	if w := s.ask("POST", "/api/v1/alerts", "am", "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"); w.Code != 403 {
		t.Errorf("a foreign page sends alerts: %d", w.Code)
	}
	if w := s.ask("POST", "/api/v1/alerts", "am", "Content-Type", "application/x-www-form-urlencoded"); w.Code != 200 {
		t.Errorf("curl -d sends alerts: %d", w.Code)
	}
	if w := s.ask("GET", "/x", "rob", "Sec-Fetch-Site", "cross-site"); w.Code != 200 {
		t.Errorf("a link from elsewhere: %d", w.Code)
	}
}

func TestFormsNeedThePage(t *testing.T) {
	dir := t.TempDir()
	same := func(o *access.Options) { o.DataDir = dir }
	s := open(t, same)
	post := func(s *scene, token, name string) int {
		r := httptest.NewRequest("POST", "/decide", strings.NewReader(access.FormField+"="+token+"&what=abort"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set(access.NameHeader, name)
		r.Host = "localhost"
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code
	}
	token := s.gate.Token(access.Person{Name: "anna"})
	again := open(t, same) // a restart
	for name, c := range map[string]struct {
		scene       *scene
		token, name string
		want        int
	}{
		"the person":         {s, token, "anna", 200},
		"after a restart":    {again, token, "anna", 200},
		"somebody else":      {s, token, "rob", 403},
		"another Understudy": {open(t, nil), token, "anna", 403},
		"none":               {s, "", "anna", 403},
		"cut short":          {s, token[:len(token)-2], "anna", 403},
		"made to last":       {s, "zzzzzz" + token[6:], "anna", 403},
		"stale":              {s, "1." + strings.SplitN(token, ".", 2)[1], "anna", 403},
	} {
		if got := post(c.scene, c.token, c.name); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "form.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key of forms: %v, %v", info, err)
	}
}
