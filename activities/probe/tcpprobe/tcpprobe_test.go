package tcpprobe_test

import (
	"net"
	"testing"

	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/probe/probetest"
	"github.com/understudy-dr/understudy/activities/probe/tcpprobe"
	"github.com/understudy-dr/understudy/runbooks"
)

func TestConformance(t *testing.T) {
	probetest.Run(t, func(*testing.T) probetest.Fixture {
		return probetest.Fixture{Prober: tcpprobe.New(), Kind: "tcp"}
	})
}

func TestURLs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for url, want := range map[string]runbooks.Finding{
		"tcp://" + l.Addr().String():            runbooks.Answers,
		"https://" + l.Addr().String() + "/v1/": runbooks.Answers,
		"tcp://127.0.0.1":                       runbooks.Blind,
		"127.0.0.1:80":                          runbooks.Blind,
		"":                                      runbooks.Blind,
	} {
		if got := tcpprobe.New().Probe(t.Context(), probe.Request{URL: url}); got.Finding != want {
			t.Errorf("%q: %q (%s), want %q", url, got.Finding, got.Detail, want)
		}
	}
}
