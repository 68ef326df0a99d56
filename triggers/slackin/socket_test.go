package slackin_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/tests/fakeslack"
	"github.com/understudy-dr/understudy/triggers/slackin"
)

// listening opens a socket, and waits until clicks come that way.
func (d *desk) listening(t *testing.T, token string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan bool)
	go func() {
		d.clicks.Listen(ctx, slackin.SocketConfig{AppToken: token, APIURL: d.URL})
		close(ended)
	}()
	return func() { cancel(); <-ended }
}

func (d *desk) sockets(t *testing.T, n int) {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); d.Sockets() != n; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%d sockets are open, want %d\n%s", d.Sockets(), n, d.log)
		}
	}
}

func TestSocketMode(t *testing.T) {
	d := open(t, func(c *slackin.Config) { c.SigningSecret = "" }) // no other way in
	stop := d.listening(t, fakeslack.AppToken)
	d.sockets(t, 1)
	d.press(t, "U_EVE", "Approve")
	// Slack asks for a new socket every few hours.
	d.Disconnect()
	d.sockets(t, 1)
	d.press(t, "U_MIA", "Approve")
	d.press(t, "U_BO", "Abort")
	d.close(t)
	stop()
	d.sockets(t, 0)
	if len(d.recovery.decided) != 1 || !strings.Contains(d.Transcript(), "decided by") {
		t.Errorf("decided: %q, people read:\n%s", d.recovery.decided, d.Transcript())
	}
	if said := d.whispered(); !strings.Contains(said, "U_EVE: Not done: no user of Understudy has your Slack account") || !strings.Contains(said, "was faster") {
		t.Errorf("whispered:\n%s", said)
	}
}

func TestASocketThatIsRefused(t *testing.T) {
	d := open(t, nil)
	stop := d.listening(t, "xapp-stranger")
	for limit := time.Now().Add(20 * time.Second); !strings.Contains(d.log.String(), "invalid_auth"); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("nobody is told\n%s", d.log)
		}
	}
	stop()
	if said := d.log.String(); !strings.Contains(said, "chat.slack.app_token") || strings.Contains(said, "xapp-stranger") {
		t.Errorf("the log says:\n%s", said)
	}
}
