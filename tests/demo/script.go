package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/understudy-dr/understudy/runbooks"
)

const (
	siteFile    = "tests/demo/understudy.yaml"
	runbookFile = "runbooks/demo.yaml"
	service     = "demo"
)

// script is what the demo is played from: the very files that Understudy reads.
type script struct {
	// file is the absolute path of the site file.
	file    string
	site    runbooks.Site
	runbook runbooks.Runbook
	ports   ports
}

// readScript reads the files, and checks that the demo can be played as they say.
func readScript() (sc script, err error) {
	if sc.file, err = filepath.Abs(siteFile); err != nil {
		return sc, err
	}
	site, problems := runbooks.LoadSite(sc.file)
	library, more := runbooks.LoadLibrary(site.Runbooks...)
	if err := append(problems, more...).Err(); err != nil {
		return sc, err
	}
	var ok bool
	if sc.runbook, ok = library.Lookup(service); !ok || site.Chat.Slack == nil || site.S3["default"].Endpoint == "" {
		return sc, fmt.Errorf("%s must name a runbook of the service %s, a Slack, and a store s3.default", siteFile, service)
	}
	sc.site = site
	if err := playable(sc.runbook); err != nil {
		return sc, err
	}
	if err := mountable(); err != nil {
		return sc, err
	}
	if sc.ports, err = readPorts(site, sc.runbook); err != nil {
		return sc, err
	}
	return sc, sc.ports.free()
}

// playable reports what the runbook lacks for the story.
func playable(r runbooks.Runbook) error {
	_, hot := r.TierNamed(runbooks.TierHot)
	cold, made := r.TierNamed(runbooks.TierCold)
	if !hot || !made || cold.Provision == nil || len(cold.Volumes) == 0 || len(r.DataOf(cold.Name)) == 0 {
		return fmt.Errorf("%s must have a tier hot, and a tier cold that is made, with a volume and data", runbookFile)
	}
	if r.Primary.Activate == nil || r.Primary.Activate.Undo == "" {
		return fmt.Errorf("%s must say how the primary takes its data home: primary.activate", runbookFile)
	}
	if r.Batches == nil || !strings.HasPrefix(r.Batches.Store, "s3://"+batchBucket+"/") {
		return fmt.Errorf("%s must have batches in the bucket %s", runbookFile, batchBucket)
	}
	paths := []string{cold.Provision.Dir}
	for _, v := range cold.Volumes {
		paths = append(paths, v.Mount)
	}
	for _, d := range r.DataOf(cold.Name) {
		paths = append(paths, d.Path)
	}
	for _, path := range paths {
		if path != homeDir && !strings.HasPrefix(path, homeDir+"/") {
			return fmt.Errorf("%s: %s is not in %s, where the demo keeps everything and clears everything away", runbookFile, path, homeDir)
		}
	}
	return nil
}

// mountable reports that this machine mounts no model for the cold standby.
func mountable() error {
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("the cold standby's model is mounted, and this machine lets nobody mount: %w; a container needs --device /dev/fuse --cap-add SYS_ADMIN", err)
	}
	return device.Close()
}
