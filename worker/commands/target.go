package commands

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/understudy-dr/understudy/triggers"
)

// target is a recovery that a command is about.
type target struct {
	Recovery string `arg:"" help:"The recovery, by its id (fun-asr-7), or the service whose recovery runs now (fun-asr)." predictor:"running"`
}

// find finds the recovery. A service stands for the one that runs.
func (t target) find(g *Globals) (detail triggers.RecoveryDetail, err error) {
	var service triggers.ServiceDetail
	id := t.Recovery
	err = g.get("/api/v1/services/"+url.PathEscape(id), &service)
	switch {
	case err == nil && service.Problem != "":
		return detail, exit{ExitAway, errors.New(service.Problem)}
	case err == nil && service.Running == "":
		return detail, exit{ExitRefused, fmt.Errorf("no recovery of %s is running now; past ones: understudy history --service %s", id, id)}
	case err == nil:
		id = service.Running
	case !errors.Is(err, errNotFound):
		return detail, err
	}
	return detail, g.get("/api/v1/recoveries/"+url.PathEscape(id), &detail)
}
