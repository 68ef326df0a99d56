package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// flood is how many webhooks are posted, abreastOf how many of them at once.
	flood, abreastOf = 2000, 100
	// slow connections are opened and never finished.
	slow = 300
	// grows is how much memory may be in use more than before: generous, and far below what any of it would take if it were kept.
	grows = 256 << 20
)

// Whoever reaches the port may send what they like: bodies without an end,
// connections that say nothing, requests within requests, paths that mean another
// one, and thousands of webhooks at once. Nothing opens, nothing grows, and the
// recovery after it all is as any other.
func TestAssaultOnThePort(t *testing.T) {
	abreast(t)
	web := webConfig(t, approvers)
	s := setScene(t, harness.SceneOptions{Edit: func(_ *runbooks.Runbook, site *runbooks.Site) { site.Users, site.Listen.WebConfig = approvers, web }})
	readAs(s.Understudy, "vera")
	before := memory(t, s)
	most := watchMemory(t, s)

	huge(t, s)
	paths(t, s)
	smuggled(t, s)
	held := loris(t, s)
	floods(t, s)
	for _, c := range held {
		_ = c.Close()
	}
	if n := count(t, s.Understudy); n > 1 {
		t.Errorf("%d recoveries of a service that lives", n)
	}
	after := memory(t, s)
	t.Logf("memory: %d MB before, %d MB at most, %d MB after", before>>20, most()>>20, after>>20)
	if peak := most(); peak > before+grows {
		t.Errorf("memory grew from %d to %d MB", before>>20, peak>>20)
	}

	guard(t, s.Understudy, func(g workflows.GuardState) bool { return g.Running == nil })
	had := count(t, s.Understudy)
	down(t, s)
	wantOutcome(t, ended(t, s.Understudy, had+1), workflows.OutcomeRecovered, string(runbooks.Dead))
}

// memory is what Understudy has of the machine's memory, in bytes.
func memory(t *testing.T, s *harness.Scene) int64 {
	t.Helper()
	n, err := resident(s.Understudy.PID())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func resident(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("the kernel tells no VmRSS")
}

// watchMemory looks at the memory until the test ends; what it returns tells the most.
func watchMemory(t *testing.T, s *harness.Scene) func() int64 {
	var most atomic.Int64
	ctx, pid := t.Context(), s.Understudy.PID()
	go func() {
		for ctx.Err() == nil {
			if n, err := resident(pid); err == nil {
				most.Store(max(most.Load(), n))
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	return most.Load
}

// zeros is a body that goes on; it counts what was read of it.
type zeros struct{ left, read int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.left)
	for i := range p[:n] {
		p[i] = ' '
	}
	z.left, z.read = z.left-n, z.read+n
	return int(n), nil
}

// huge sends 100 MB to whatever takes a body: with and without a login, with and without saying how much it is.
func huge(t *testing.T, s *harness.Scene) {
	t.Helper()
	base := "http://" + s.Understudy.Options.Site.Listen.API
	for _, to := range []struct{ path, who string }{
		{"/api/v1/alerts", ""}, {"/api/v1/alerts", "am"}, {"/api/v1/services/fun-asr/pause", "anna"}, {"/slack/interactive", ""}, {"/services/fun-asr/recover", "anna"},
	} {
		for _, length := range []int64{100 << 20, -1} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+to.path, &zeros{left: 100 << 20})
			if err != nil {
				t.Fatal(err)
			}
			if r.ContentLength = length; to.who != "" {
				r.SetBasicAuth(to.who, "of "+to.who)
			}
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Idempotency-Key", "huge")
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				continue // it hung up in the middle, which is a refusal as well
			}
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
			if response.StatusCode < 400 || response.StatusCode >= 500 {
				t.Errorf("100 MB to %s are answered with %s", to.path, response.Status)
			}
		}
	}
}

// said sends bytes as they are, and returns the answers' status codes.
func said(t *testing.T, s *harness.Scene, raw string) (codes []int) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Understudy.Options.Site.Listen.API)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, raw); err != nil {
		return nil
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	reader := bufio.NewReader(conn)
	for {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return codes
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		codes = append(codes, response.StatusCode)
	}
}

// paths are other spellings of what is behind a login or open to all: none opens what is closed.
func paths(t *testing.T, s *harness.Scene) {
	t.Helper()
	for _, path := range []string{
		"//api/v1/services", "/healthz/../api/v1/services", "/healthz/%2e%2e/api/v1/services", "/healthz%2f..%2fapi%2fv1%2fservices", "/healthz/..%2fapi/v1/services",
		"/api/v1/alerts/../services", "/api/v1/alerts/%2e%2e/services", "/api/v1//services", "/./metrics", "/metrics/", "//metrics", "/%6detrics", "/slack/interactive/../../metrics",
		"/slack/interactive/%2e%2e/%2e%2e/metrics", "/healthz;/metrics", "/healthz%00/../metrics", "/HEALTHZ/../metrics", "http://other.example/metrics", "/..%5cmetrics",
		"/assets/../../../../etc/passwd", "/assets/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/api/v1/recoveries/..%2f..%2f..%2fetc%2fpasswd/report",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "FORGED"} {
			codes := said(t, s, method+" "+path+" HTTP/1.1\r\nHost: "+s.Understudy.Options.Site.Listen.API+"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			for _, code := range codes {
				if code < 300 || code >= 500 {
					t.Errorf("%s %s without a login is answered with %d", method, path, code)
				}
			}
			if len(codes) != 1 && method != "HEAD" { // an answer to HEAD has a length and no body
				t.Errorf("%s %s is answered with %v", method, path, codes)
			}
		}
	}
}

// smuggled are requests that two readers may divide differently: what hides in one is refused, or asked for its own login.
func smuggled(t *testing.T, s *harness.Scene) {
	t.Helper()
	host := "Host: " + s.Understudy.Options.Site.Listen.API + "\r\n"
	hidden := "GET /metrics HTTP/1.1\r\n" + host + "\r\n"
	login := "Authorization: Basic YW06b2YgYW0=\r\n" // am, who may send alerts and nothing else
	for name, raw := range map[string]string{
		"both lengths":           "POST /api/v1/alerts HTTP/1.1\r\n" + host + login + "Content-Type: application/json\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"two lengths":            "POST /api/v1/alerts HTTP/1.1\r\n" + host + login + "Content-Length: 0\r\nContent-Length: 60\r\n\r\n" + hidden,
		"an odd encoding":        "POST /api/v1/alerts HTTP/1.1\r\n" + host + login + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden,
		"a space before a colon": "POST /api/v1/alerts HTTP/1.1\r\n" + host + login + "Content-Length : 0\r\n\r\n" + hidden,
		"a folded header":        "GET /healthz HTTP/1.1\r\n" + host + "X: a\r\n Authorization: Basic YW5uYTpvZiBhbm5h\r\n\r\n" + hidden,
		"a body of a GET":        "GET /healthz HTTP/1.1\r\n" + host + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(hidden)) + hidden,
		"one after the other":    "GET /healthz HTTP/1.1\r\n" + host + login + "\r\n" + hidden,
		"two hosts":              "GET /metrics HTTP/1.1\r\n" + host + "Host: other.example\r\n\r\n",
		"a negative length":      "POST /api/v1/alerts HTTP/1.1\r\n" + host + login + "Content-Length: -1\r\n\r\n" + hidden,
		"who it claims to be":    "GET /metrics HTTP/1.1\r\n" + host + "X-Forwarded-User: anna\r\nX-Remote-User: anna\r\nX-Forwarded-For: 127.0.0.1\r\nX-Original-URL: /healthz\r\nX-Rewrite-URL: /healthz\r\nX-HTTP-Method-Override: GET\r\n\r\n",
		"headers without an end": "GET /metrics HTTP/1.1\r\n" + host + "X: " + strings.Repeat("a", 1<<20) + "\r\n\r\n",
	} {
		codes := said(t, s, raw)
		closed := 0
		for _, code := range codes {
			if code >= 400 {
				closed++
			}
		}
		open := strings.HasPrefix(raw, "GET /healthz ")
		if len(codes)-closed > map[bool]int{true: 1}[open] || len(codes) > 2 {
			t.Errorf("%s: answered with %v", name, codes)
		}
	}
	if seen := metric(t, s, "understudy_alerts_received_total"); strings.Contains(seen, `accepted"} 1`) {
		t.Errorf("an alert was smuggled in:\n%s", seen)
	}
}

// metric returns the lines of one metric.
func metric(t *testing.T, s *harness.Scene, name string) (lines string) {
	t.Helper()
	text, err := fetch(t.Context(), s.Understudy.URL+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, name) {
			lines += line
		}
	}
	return lines
}

// loris opens connections that begin a request and do not go on with it. The first
// ones must be hung up on by the server itself.
func loris(t *testing.T, s *harness.Scene) (held []net.Conn) {
	t.Helper()
	for i := range slow {
		conn, err := net.Dial("tcp", s.Understudy.Options.Site.Listen.API)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
		begun := "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: "
		if i%2 == 1 {
			begun = "POST /api/v1/alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YW06b2YgYW0=\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
		}
		if _, err := io.WriteString(conn, begun); err != nil {
			t.Fatal(err)
		}
	}
	// Others are served meanwhile.
	if _, err := fetch(t.Context(), s.Understudy.URL+"/api/v1/services"); err != nil {
		t.Error(err)
	}
	_ = held[0].SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, held[0]); err != nil {
		t.Errorf("headers that never end keep their connection: %v", err)
	}
	return held
}

// floods posts webhooks of one alert, far more at once than anybody sends. Each is
// taken, or refused in a way after which Alertmanager sends it again.
func floods(t *testing.T, s *harness.Scene) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: abreastOf}}
	defer client.CloseIdleConnections()
	since := time.Now().Format(time.RFC3339Nano)
	var taken, again, wrong atomic.Int64
	var all sync.WaitGroup
	next := make(chan int)
	for range abreastOf {
		all.Go(func() {
			for i := range next {
				body := fmt.Sprintf(`{"version":"4","status":"firing","alerts":[{"status":"firing","fingerprint":"flood-%d","startsAt":%q,"labels":{"alertname":"SpeechServiceDown","service":"fun-asr"},"annotations":{"summary":%q}}]}`, i%50, since, strings.Repeat("x", 4096))
				r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.Understudy.Options.Site.Listen.API+"/api/v1/alerts", bytes.NewReader([]byte(body)))
				if err != nil {
					wrong.Add(1)
					continue
				}
				r.SetBasicAuth("am", "of am")
				r.Header.Set("Content-Type", "application/json")
				response, err := client.Do(r)
				if err != nil {
					wrong.Add(1)
					continue
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				switch response.StatusCode {
				case http.StatusOK:
					taken.Add(1)
				case http.StatusServiceUnavailable:
					again.Add(1)
				default:
					wrong.Add(1)
				}
			}
		})
	}
	posted := 0
	for began := time.Now(); posted < flood && time.Since(began) < 8*time.Second; posted++ {
		next <- posted
	}
	close(next)
	all.Wait()
	t.Logf("%d webhooks, %d at once: %d taken, %d to be sent again", posted, abreastOf, taken.Load(), again.Load())
	if wrong.Load() != 0 || taken.Load() == 0 {
		t.Errorf("of %d webhooks %d were taken, %d to be sent again, %d answered wrongly or not at all", posted, taken.Load(), again.Load(), wrong.Load())
	}
}
