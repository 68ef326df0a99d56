package harnesstest

import (
	"context"
	"testing"

	"github.com/understudy-dr/understudy/tests/harness"
)

// Engines skips the test where the speech engines are not installed.
func Engines(t testing.TB) {
	t.Helper()
	if err := harness.FindEngines(); err != nil {
		t.Skipf("missing: %v", err)
	}
}

// ASR starts a speech recognition server.
func ASR(t testing.TB, options harness.SiteOptions) *harness.Site {
	t.Helper()
	return startSite(t, harness.StartASR, options)
}

// TTS starts a speech synthesis server.
func TTS(t testing.TB, options harness.SiteOptions) *harness.Site {
	t.Helper()
	return startSite(t, harness.StartTTS, options)
}

func startSite(t testing.TB, start func(context.Context, harness.SiteOptions) (*harness.Site, error), options harness.SiteOptions) *harness.Site {
	t.Helper()
	Engines(t)
	if options.Dir == "" {
		options.Dir = t.TempDir()
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	site, err := start(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { site.Kill() })
	return site
}
