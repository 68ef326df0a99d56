//go:build vm

package vm

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/compute/boot"
	"github.com/understudy-dr/understudy/activities/compute/images"
)

// The same document is carried out by cloud-init and systemd, in a whole Debian.
func TestWholeDebianBootsWithCloudInit(t *testing.T) {
	if err := here.build(t.Context(), "debian", images.Systemd); err != nil {
		t.Fatal(err)
	}
	o := here.order(t, "debian", func(m *boot.Machine) { m.Order.Placement.Image = "debian@1" })
	began := time.Now()
	m := here.start(t, o)
	here.healthy(t, o, m)
	fmt.Fprintf(os.Stderr, "boot times: whole Debian with systemd and cloud-init, model copied from S3 and proven: /health after %.1f s\n", time.Since(began).Seconds())
	if got := transcribed(t, m); !strings.Contains(got, canary) {
		t.Errorf("heard %s, want %s", got, canary)
	}
}
