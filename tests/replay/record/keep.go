package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	historypb "go.temporal.io/api/history/v1"

	"github.com/understudy-dr/understudy/tests/fakeslack"
	"github.com/understudy-dr/understudy/tests/replay"
)

// keep puts a scene's histories into the place of those that it left before,
// and returns the names of their files.
func keep(out string, s scene, taken []*historypb.History) ([]string, error) {
	of := map[string][]*historypb.History{}
	for _, h := range taken {
		of[replay.Type(h)] = append(of[replay.Type(h)], h)
	}
	files := map[string]*historypb.History{}
	for _, kind := range s.keep {
		if len(of[kind]) == 0 {
			return nil, fmt.Errorf("it has no history of %s", kind)
		}
		for i, h := range of[kind] {
			name := strings.ToLower(kind) + "-" + s.name
			if len(of[kind]) > 1 {
				name = fmt.Sprintf("%s-%d", name, i+1)
			}
			if err := fit(h); err != nil {
				return nil, fmt.Errorf("%s cannot be kept: %w", name, err)
			}
			files[name+replay.Extension] = h
		}
	}
	if err := clear(out, s); err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		if err := replay.Write(filepath.Join(out, name), files[name]); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// fit makes a history fit to be kept, and refuses one that is not.
func fit(h *historypb.History) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	if err := replay.Anonymous(h, host); err != nil {
		return err
	}
	if found := replay.Secrets(h, append(os.Environ(), "SLACK_TOKEN="+fakeslack.Token)); len(found) > 0 {
		return fmt.Errorf("it holds secrets:\n%s", strings.Join(found, "\n"))
	}
	if err := replay.Replay(h); err != nil {
		return fmt.Errorf("it does not replay: %w", err)
	}
	return nil
}

// clear removes what a scene left before.
func clear(out string, s scene) error {
	left := regexp.MustCompile("^[a-z]+-" + regexp.QuoteMeta(s.name) + "(-[0-9]+)?" + regexp.QuoteMeta(replay.Extension) + "$")
	files, err := os.ReadDir(out)
	if err != nil {
		return err
	}
	for _, file := range files {
		if left.MatchString(file.Name()) {
			if err := os.Remove(filepath.Join(out, file.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
