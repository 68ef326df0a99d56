package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/understudy-dr/understudy/tests/site/model"
)

func buildModel(ctx context.Context, args []string) error {
	var spec model.Spec
	f := flag.NewFlagSet("model", flag.ExitOnError)
	f.StringVar(&spec.Kind, "kind", model.ASR, "asr or tts")
	f.StringVar(&spec.Version, "version", "", "the model's version, one line")
	f.StringVar(&spec.Dir, "out", "", "directory to make")
	f.BoolVar(&spec.Full, "full", false, "asr: listen for all 134,000 words, not for a few hundred")
	_ = f.Parse(args)
	if spec.Version == "" || spec.Dir == "" {
		f.Usage()
		os.Exit(exitUsage)
	}
	if err := model.Build(ctx, spec); err != nil {
		return err
	}
	fmt.Println(spec.Dir)
	return nil
}
