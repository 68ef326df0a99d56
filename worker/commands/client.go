package commands

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/term"

	"github.com/understudy-dr/understudy/triggers/access"
)

const (
	// answerIn bounds how long an answer may take; the longest is that of recover --supersede.
	answerIn = time.Minute
	// tries of a decision whose answer did not come, each with the same key.
	tries    = 3
	tryAgain = time.Second
)

// errNotFound means that the server has no such thing.
var errNotFound = errors.New("not found")

// get asks the running Understudy.
func (g *Globals) get(path string, into any) error {
	_, err := g.getPage(path, into)
	return err
}

var nextPage = regexp.MustCompile(`<([^>]+)>; rel="next"`)

// getPage asks as well, and returns where the next page is; empty where there is none.
func (g *Globals) getPage(path string, into any) (next string, err error) {
	response, body, err := g.do(g.ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return "", err
	}
	if link := nextPage.FindStringSubmatch(response.Header.Get("Link")); link != nil {
		next = link[1]
	}
	return next, json.Unmarshal(body, into)
}

// decide sends a decision. Where no answer comes it is sent again, with the same
// key: the server carries it out once.
func (g *Globals) decide(path string, decision, into any) error {
	text, err := json.Marshal(decision)
	if err != nil {
		return err
	}
	header := http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {uuid.NewString()}}
	for try := 1; ; try++ {
		_, body, err := g.do(g.ctx, http.MethodPost, path, text, header)
		var wanted exit
		if err == nil {
			return json.Unmarshal(body, into)
		}
		if !errors.As(err, &wanted) || wanted.code != ExitAway || try == tries {
			return err
		}
		select {
		case <-g.ctx.Done():
			return err
		case <-time.After(tryAgain):
		}
	}
}

// do sends one request and reads the whole answer.
func (g *Globals) do(ctx context.Context, method, path string, content []byte, header http.Header) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	response, err := g.send(ctx, method, path, content, header)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, nil, exit{ExitAway, fmt.Errorf("the answer broke off: %w", err)}
	}
	return response, body, failed(response, body)
}

// send sends one request, as the person who calls.
func (g *Globals) send(ctx context.Context, method, path string, content []byte, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(g.Server, "/")+path, bytes.NewReader(content))
	if err != nil {
		return nil, exit{ExitUsage, fmt.Errorf("--server %s: %w", g.Server, err)}
	}
	for name, values := range header {
		request.Header[name] = values
	}
	if err := g.identify(request); err != nil {
		return nil, err
	}
	client, err := g.httpClient()
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, exit{ExitAway, fmt.Errorf("no Understudy answers at %s (start one with understudy serve, or name another with --server): %w", g.Server, err)}
	}
	return response, nil
}

func (g *Globals) httpClient() (*http.Client, error) {
	if g.client != nil {
		return g.client, nil
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if g.CAFile != "" {
		text, err := os.ReadFile(g.CAFile)
		if err != nil {
			return nil, exit{ExitUsage, fmt.Errorf("--ca-file: %w", err)}
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, exit{ExitUsage, fmt.Errorf("--ca-file %s holds no certificate", g.CAFile)}
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	g.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("it sends us elsewhere; name that address with --server") // a decision is not handed around
	}}
	return g.client, nil
}

// identify says who sends a request: by password, or by name where nobody logs in.
func (g *Globals) identify(r *http.Request) error {
	if g.User == "" {
		r.Header.Set(access.NameHeader, accountName())
		return nil
	}
	r.Header.Set(access.NameHeader, g.User)
	switch {
	case g.asked:
	case g.PasswordFile != "":
		text, err := os.ReadFile(g.PasswordFile)
		if err != nil {
			return exit{ExitUsage, fmt.Errorf("--password-file: %w", err)}
		}
		g.password = strings.TrimRight(string(text), "\r\n")
	case g.terminal:
		fmt.Fprintf(g.err, "Password of %s (empty where nobody logs in): ", g.User)
		text, err := term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(g.err)
		if err != nil {
			return exit{ExitUsage, fmt.Errorf("read the password: %w", err)}
		}
		g.password = string(text)
	}
	if !g.asked && g.password != "" && r.URL.Scheme == "http" && !access.Loopback(net.JoinHostPort(r.URL.Hostname(), "80")) {
		fmt.Fprintf(g.err, "understudy: the password goes to %s in the clear; use https\n", r.URL.Host)
	}
	g.asked = true
	if g.password != "" {
		r.SetBasicAuth(g.User, g.password)
	}
	return nil
}

// accountName is the person's user name on this host, also behind sudo.
func accountName() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// failed turns an answer that is an error into one with its exit code.
func failed(response *http.Response, body []byte) error {
	if response.StatusCode < 300 {
		return nil
	}
	var told struct {
		Detail string `json:"detail"`
		Errors []struct {
			Message  string `json:"message"`
			Location string `json:"location"`
		} `json:"errors"`
	}
	_ = json.Unmarshal(body, &told)
	if told.Detail == "" {
		told.Detail = response.Status
	}
	between := "; "
	if len(told.Errors) > 3 {
		between = "\n  " // such as the mistakes of a manifest
	}
	for _, e := range told.Errors {
		told.Detail += between + strings.TrimSpace(e.Location+" "+e.Message)
	}
	err := errors.New(told.Detail)
	switch response.StatusCode {
	case http.StatusUnauthorized:
		return exit{ExitDenied, fmt.Errorf("%w; name yourself with --user, and the password's file with --password-file", err)}
	case http.StatusForbidden, http.StatusTooManyRequests:
		return exit{ExitDenied, err}
	case http.StatusNotFound:
		return exit{ExitFailed, fmt.Errorf("%w: %w", err, errNotFound)}
	case http.StatusConflict:
		return exit{ExitRefused, err}
	case http.StatusUnprocessableEntity, http.StatusBadRequest:
		return exit{ExitUsage, err}
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return exit{ExitAway, err}
	default:
		return exit{ExitFailed, err}
	}
}
