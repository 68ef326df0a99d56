package nginx

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/traffic"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	for range 300 {
		var servers []traffic.Server
		for i := range 1 + random.IntN(5) {
			servers = append(servers, traffic.Server{
				Name:    pick("primary", "hot", "gpu-a.1:x", "_", "down", "backup", "server") + string(rune('a'+i)),
				Address: pick("10.0.0.1", "[2001:db8::1]", "gpu-b.example.com") + ":" + pick("1", "65535", "7860"),
				State:   traffic.State(pick("ready", "drain", "maint")),
				Backup:  random.IntN(2) == 0,
			})
		}
		parsed, err := parse("speech", render("speech", servers))
		if err != nil || !slices.Equal(parsed, servers) {
			t.Fatalf("file: wrote %+v, read %+v, %v", servers, parsed, err)
		}
		heard, err := hear("4711: " + tell(servers))
		if err != nil || heard.worker != 4711 || !slices.Equal(heard.servers, servers) {
			t.Fatalf("told %+v, heard %+v, %v", servers, heard, err)
		}
	}
}

func TestParseRefusesWhatItWouldLose(t *testing.T) {
	for name, c := range map[string]struct{ text, wrong string }{
		"another upstream":        {"upstream b {\n}\n", "no complete upstream a"},
		"no end":                  {"upstream a {\n", "no complete upstream a"},
		"a parameter":             {"upstream a {\n server b:1 max_fails=0 weight=2; # b ready\n}\n", "line 2: \"weight=2\" would be lost"},
		"a directive":             {"upstream a {\n keepalive 8;\n}\n", "line 2"},
		"no name":                 {"upstream a {\n server b:1 max_fails=0;\n}\n", "line 2"},
		"a state that is not so":  {"upstream a {\n server b:1 max_fails=0; # b maint\n}\n", "the parameters do not"},
		"no state at all":         {"upstream a {\n server b:1 max_fails=0; # b up\n}\n", "no state"},
		"a server without a port": {"upstream a {\n server b max_fails=0; # b ready\n}\n", "no address"},
	} {
		if servers, err := parse("a", []byte(c.text)); err == nil || !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: %+v, %v; want %q", name, servers, err, c.wrong)
		}
	}
}

func TestHearRefusesAStranger(t *testing.T) {
	for _, text := range []string{"", "<html>", "primary", "primary 10.0.0.1:1 ready", "x: primary 10.0.0.1:1 ready", "1: primary 10.0.0.1:1 up",
		"1: primary 10.0.0.1 ready", "1: primary 10.0.0.1:1 ready maybe", "1: primary 10.0.0.1:1 ready, ", "1: a; 10.0.0.1:1 ready"} {
		if heard, err := hear(text); err == nil {
			t.Errorf("%q was heard as %+v", text, heard)
		}
	}
}

func TestLockIsHeldByOne(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second holder: %v", err)
	}
	unlock()
	again, err := lock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	again()
}
