package commands

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/ec2/ec2fixture"
)

// An image is copied once, however often the command is interrupted.
func TestImageCopy(t *testing.T) {
	options := ec2fixture.Account()
	options.Regions[1].Images = nil
	account := ec2fixture.New(t, options)
	site := filepath.Join(t.TempDir(), "understudy.yaml")
	text, err := json.Marshal(runbooks.Site{APIVersion: runbooks.APIVersion, AWS: account.AWS, Runbooks: []string{"runbooks"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(site, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s := set(t, nil)
	args := []string{"--config", site, "image", "copy", "asr-2512", "--from", ec2fixture.Region, "--to", "us-east-1"}
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		for len(account.Images("us-east-1")) == 0 && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		interrupt()
	}()
	s.want(s.callWith(ctx, nil, args...), ExitFailed, "goes on by itself; the same command waits for it again")
	account.ImageState("us-east-1", "asr-2512", time.Time{}, "")
	s.want(s.run(args...), ExitOK, "in us-east-1 is a copy of us-west-2/"+ec2fixture.Image, `named "asr-2512"`)
	if n := len(account.Calls("CopyImage")); n != 1 {
		t.Errorf("it was copied %d times", n)
	}
	s.want(s.run("--config", site, "image", "copy", "nobody", "--from", ec2fixture.Region, "--to", "us-east-1"), ExitFailed, "no image nobody is available in us-west-2")
	s.want(s.run("image", "copy", "asr-2512", "--from", "us-west-2"), ExitUsage, "--to")
}
