package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// base is where the API begins.
const base = "/api/v1"

// problem is an error of the API, in the words of RFC 9457.
type problem struct {
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Errors []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
	} `json:"errors"`
}

func (p *problem) Error() string {
	text := p.Detail
	for _, e := range p.Errors {
		text += "; " + strings.TrimSpace(e.Message+" "+strings.TrimPrefix(e.Location, "body."))
	}
	return text
}

var nextPage = regexp.MustCompile(`<[^>?]*\?([^>]*)>; rel="next"`)

// get asks the API as the person of the context.
func (c *Console) get(ctx context.Context, path string, into any) error {
	_, err := c.call(ctx, http.MethodGet, path, "", nil, into)
	return err
}

// getPage asks as well, and returns the query of the next page; empty where there is none.
func (c *Console) getPage(ctx context.Context, path string, into any) (next string, err error) {
	header, err := c.call(ctx, http.MethodGet, path, "", nil, into)
	if link := nextPage.FindStringSubmatch(header.Get("Link")); link != nil {
		next = link[1]
	}
	return next, err
}

// decide hands a decision to the API. The key makes it one, however often it is sent.
func (c *Console) decide(ctx context.Context, path, key string, decision, into any) error {
	text, err := json.Marshal(decision)
	if err != nil {
		return err
	}
	_, err = c.call(ctx, http.MethodPost, path, key, text, into)
	return err
}

func (c *Console) call(ctx context.Context, method, path, key string, content []byte, into any) (http.Header, error) {
	r, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	if method != http.MethodGet {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", key)
	}
	answer := &answer{status: http.StatusOK, header: http.Header{}}
	c.api.ServeHTTP(answer, r)
	if answer.status >= 400 {
		no := &problem{}
		if json.Unmarshal(answer.body.Bytes(), no) != nil || no.Detail == "" {
			no.Detail = strings.TrimSpace(answer.body.String())
		}
		no.Status = answer.status
		return answer.header, no
	}
	if err := json.Unmarshal(answer.body.Bytes(), into); err != nil {
		return answer.header, fmt.Errorf("the API's answer to %s %s cannot be read: %w", method, path, err)
	}
	return answer.header, nil
}

// answer keeps what a handler writes.
type answer struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (a *answer) Header() http.Header            { return a.header }
func (a *answer) WriteHeader(status int)         { a.status = status }
func (a *answer) Write(text []byte) (int, error) { return a.body.Write(text) }
