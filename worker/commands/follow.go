package commands

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/triggers"
)

const (
	// comeBack is the pause before a stream that broke off is joined again.
	comeBack = time.Second
	// silentFor is how long a stream may be silent: the server says every 15 s that it lives.
	silentFor = 45 * time.Second
	// maxEvent is the longest event that is read, in bytes.
	maxEvent = 16 << 20
)

// errEnded means that a stream has told everything.
var errEnded = errors.New("ended")

// follow calls news for every state of a recovery until it has ended, and
// returns the last one. A stream that breaks off is joined again where it was:
// a restart of Understudy ends nothing.
func (g *Globals) follow(ctx context.Context, id string, news func(triggers.RecoveryDetail)) (last triggers.RecoveryDetail, err error) {
	lastID, away := "", false
	for {
		lastID, err = g.stream(ctx, "/api/v1/recoveries/"+url.PathEscape(id)+"/events", lastID, func(data []byte) error {
			if err := json.Unmarshal(data, &last); err != nil {
				return fmt.Errorf("an event that is none: %w", err)
			}
			away = false
			news(last)
			if !last.Report.Ended.IsZero() {
				return errEnded
			}
			return nil
		})
		var wanted exit
		switch {
		case errors.Is(err, errEnded):
			return last, nil
		case ctx.Err() != nil:
			return last, ctx.Err()
		case errors.As(err, &wanted) && wanted.code != ExitAway:
			return last, err
		case !away:
			away = true
			fmt.Fprintln(g.err, "the connection is gone; the recovery goes on, and Understudy is asked again")
		}
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case <-time.After(comeBack):
		}
	}
}

// stream reads server-sent events from after the one with an id, and returns the
// id of the latest one that was handled.
func (g *Globals) stream(ctx context.Context, path, lastID string, handle func(data []byte) error) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(silentFor, cancel)
	defer silence.Stop()
	response, err := g.send(ctx, http.MethodGet, path, nil, http.Header{"Last-Event-Id": {lastID}, "Accept": {"text/event-stream"}})
	if err != nil {
		return lastID, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(response.Body)
		if response.StatusCode == http.StatusNoContent {
			return lastID, errEnded
		}
		return lastID, failed(response, body)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxEvent)
	id, data := lastID, ""
	for lines.Scan() {
		silence.Reset(silentFor)
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "" && data != "":
			if err := handle([]byte(data)); err != nil {
				return id, err
			}
			lastID, data = id, ""
		case name == "id":
			id = value
		case name == "data":
			data += value
		}
	}
	return lastID, exit{ExitAway, errors.New("the stream broke off")}
}
