package main

import (
	"context"
	"fmt"
	"os"

	"github.com/understudy-dr/understudy/tests/site/stage"
	"github.com/understudy-dr/understudy/tests/site/tts"
)

func runTTS(ctx context.Context, args []string) error {
	var s server
	f := s.flags("tts", "127.0.0.1:5000", tts.DefaultName)
	output := f.String("output", "", "directory that keeps the audio; empty: one that goes with the program")
	form := f.String("answer", tts.AnswerBody, "form of answers: body, json (base64) or url; the query's \"answer\" overrides it")
	_ = f.Parse(args)

	st, m, err := s.prepare(ctx, stage.Options{Fail: tts.Fail}, tts.Needed)
	if err != nil {
		return err
	}
	if *output == "" {
		if *output, err = os.MkdirTemp("", "audio-"); err != nil {
			return err
		}
		defer os.RemoveAll(*output)
	}
	if err := os.MkdirAll(*output, 0o755); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	if _, err := tts.Load(ctx, tts.Config{Name: s.name, Model: m, Output: *output, Answer: *form, Stage: st}); err != nil {
		return err
	}
	return st.Run(ctx, s.listen, nil)
}
