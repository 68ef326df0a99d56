package main

import (
	"context"
	"fmt"
	"os"

	"github.com/understudy-dr/understudy/tests/site/asr"
	"github.com/understudy-dr/understudy/tests/site/stage"
)

func runASR(ctx context.Context, args []string) error {
	var s server
	f := s.flags("asr", "127.0.0.1:7860", asr.DefaultName)
	settingsFile := f.String("settings", "", "JSON file of hot words and rules for figures")
	historyFile := f.String("history", "", "SQLite database that keeps each transcription; empty: none")
	_ = f.Parse(args)

	settings, err := asr.ReadSettings(*settingsFile)
	if err != nil {
		return err
	}
	st, m, err := s.prepare(ctx, stage.Options{Fail: asr.Fail}, asr.Needed)
	if err != nil {
		return err
	}
	var history *asr.History
	if *historyFile != "" {
		if history, err = asr.OpenHistory(ctx, *historyFile); err != nil {
			return err
		}
		defer history.Close()
	}
	recognizer, err := asr.Load(ctx, asr.Config{Name: s.name, Model: m, Settings: settings, History: history, Stage: st})
	if err != nil {
		return err
	}
	defer recognizer.Close()
	for _, word := range recognizer.Engine().Unknown {
		fmt.Fprintf(os.Stderr, "note: the hot word %q is in no dictionary and is ignored\n", word)
	}
	return st.Run(ctx, s.listen, recognizer.Engine().Ended())
}
