// Record plays scenes on real parts and keeps the histories of the workflows
// that they caused, for the replay tests.
//
//	record [--out DIR] [SCENE...]
//
// Without names it plays all scenes. A scene's histories are replaced only once
// it has been played to its end, each of them replays, and none holds a secret.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/tests/replay"
)

func main() {
	out := flag.String("out", "tests/replay/testdata", "where the histories go")
	flag.Usage = func() {
		fmt.Fprintf(os.Stderr, "usage: record [--out DIR] [SCENE...]\n\nscenes:\n")
		for _, s := range scenes {
			fmt.Fprintf(os.Stderr, "  %-16s %s\n", s.name, s.what)
		}
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *out, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out string, names []string) error {
	for _, name := range names {
		if !slices.ContainsFunc(scenes, func(s scene) bool { return s.name == name }) {
			return fmt.Errorf("there is no scene %q; record --help lists them", name)
		}
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, s := range scenes {
		if len(names) > 0 && !slices.Contains(names, s.name) {
			continue
		}
		began := time.Now()
		fmt.Printf("%-16s %s\n", s.name, s.what)
		files, err := record(ctx, out, s)
		if err != nil {
			return fmt.Errorf("scene %s: %w", s.name, err)
		}
		fmt.Printf("%-16s %s, in %s\n", "", strings.Join(files, ", "), time.Since(began).Round(time.Second))
	}
	return sum(out)
}

// sum says what there is now, and which activities no history has: what comes
// after them in a workflow is not replayed.
func sum(out string) error {
	paths, err := filepath.Glob(filepath.Join(out, "*"+replay.Extension))
	if err != nil {
		return err
	}
	begun, bytes := map[string]bool{}, int64(0)
	for _, path := range paths {
		h, err := replay.Read(path)
		if err != nil {
			return err
		}
		for _, name := range replay.Activities(h) {
			begun[name] = true
		}
		if info, err := os.Stat(path); err == nil {
			bytes += info.Size()
		}
	}
	fmt.Printf("%d histories, %d KB\n", len(paths), bytes/1000)
	var lacking []string
	for method := range reflect.TypeFor[*activities.Activities]().Methods() {
		if !begun[method.Name] {
			lacking = append(lacking, method.Name)
		}
	}
	if len(lacking) > 0 {
		fmt.Println("no history has the activities", strings.Join(lacking, ", "))
	}
	return nil
}
