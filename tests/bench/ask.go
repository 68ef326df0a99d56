package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"
)

// until asks again and again until the answer is nil; the error says what the last one was.
func until(ctx context.Context, ask func(ctx context.Context) error) error {
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// startsOf is how often it is tried to start parts.
const startsOf = 3

// start starts parts, in a new directory each time. Between the finding of a
// free port and its use another program may take it: then it is tried again.
func start[T any](ctx context.Context, dir string, set func(ctx context.Context, dir string) (T, error)) (parts T, err error) {
	for try := range startsOf {
		own := fmt.Sprintf("%s-%d", dir, try)
		if err := os.Mkdir(own, 0o755); err != nil {
			return parts, err
		}
		if parts, err = set(ctx, own); err == nil || ctx.Err() != nil {
			return parts, err
		}
	}
	return parts, err
}

// getJSON reads JSON from a URL.
func getJSON(ctx context.Context, url string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

// pause waits, or returns early where the benchmark is interrupted.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
