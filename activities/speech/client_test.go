package speech_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/understudy-dr/understudy/activities/speech"
	"github.com/understudy-dr/understudy/activities/speech/speechtest"
)

func TestConformance(t *testing.T) {
	speechtest.Run(t, func(*testing.T) speech.Client { return speech.NewClient() })
}

// A kept connection may lead to a server that is out of the traffic by now.
func TestEachRequestHasItsConnection(t *testing.T) {
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"text":"one"}`))
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	client := speech.NewClient()
	for range 3 {
		if _, err := client.Transcribe(t.Context(), speech.TranscribeRequest{URL: server.URL}); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections.Load(); n != 3 {
		t.Errorf("3 requests used %d connections", n)
	}
}
