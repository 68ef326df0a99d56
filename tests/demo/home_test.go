package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/runbooks"
)

func TestOneDemoAtATimeHasTheHome(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	first, err := takeHome(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := takeHome(dir); !errors.Is(err, errOther) {
		t.Errorf("a second demo: %v", err)
	}
	if !first.leave() {
		t.Error("the log is gone")
	}
	next, err := takeHome(dir)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the next demo finds %v, %v", left, err)
	}
	next.remove()
	if _, err := os.Stat(dir); err == nil {
		t.Error("it is still there")
	}
}

func TestAHomeOfSomebodyElseIsNotTouched(t *testing.T) {
	dir := t.TempDir()
	elsewhere, link := filepath.Join(dir, "elsewhere"), filepath.Join(dir, "link")
	if err := os.MkdirAll(filepath.Join(elsewhere, "dear"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, link); err != nil {
		t.Fatal(err)
	}
	if _, err := takeHome(link); err == nil {
		t.Error("a link was followed")
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := takeHome(file); err == nil {
		t.Error("a file was taken for a directory")
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(elsewhere, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if _, err := takeHome(elsewhere); err == nil || !strings.Contains(err.Error(), "another user") {
			t.Errorf("another user's directory: %v", err)
		}
	}
	for _, path := range []string{file, filepath.Join(elsewhere, "dear")} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestARunbookMustFitTheStory(t *testing.T) {
	library, problems := runbooks.LoadLibrary("../../" + runbookFile)
	if problems.Err() != nil {
		t.Fatal(problems.Err())
	}
	good, _ := library.Lookup(service)
	if err := playable(good); err != nil {
		t.Errorf("the shipped one: %v", err)
	}
	for name, change := range map[string]func(hot, cold *runbooks.Tier){
		"no hot tier":               func(hot, _ *runbooks.Tier) { hot.Name = runbooks.TierWarm },
		"no cold tier":              func(_, cold *runbooks.Tier) { cold.Name = runbooks.TierCrossRegion },
		"no volume":                 func(_, cold *runbooks.Tier) { cold.Volumes = nil },
		"starts elsewhere":          func(_, cold *runbooks.Tier) { p := *cold.Provision; p.Dir = "/home/me"; cold.Provision = &p },
		"mounts elsewhere":          func(_, cold *runbooks.Tier) { cold.Volumes = []runbooks.Volume{{Mount: "/models"}} },
		"mounts beside":             func(_, cold *runbooks.Tier) { cold.Volumes = []runbooks.Volume{{Mount: homeDir + "2/model"}} },
		"restores data to the root": func(_, cold *runbooks.Tier) { cold.Data = []runbooks.Data{{Path: "/history.db"}} },
	} {
		r := good
		r.Tiers = append([]runbooks.Tier{}, good.Tiers...)
		change(&r.Tiers[0], &r.Tiers[1])
		if err := playable(r); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
}
