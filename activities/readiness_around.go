package activities

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/understudy-dr/understudy/activities/chat"
	"github.com/understudy-dr/understudy/activities/secrets"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// ServiceTier is the tier of findings that are about all of them.
	ServiceTier = ""
	// diskSpare is what should be free where Understudy writes, in bytes; below diskLeast the next recovery's own
	// records may not fit any more.
	diskSpare = 1 << 30
	diskLeast = 64 << 20
)

// readySlot asks whether the load balancer has a server for the tier.
func (a *Activities) readySlot(ctx context.Context, in CheckReadinessInput, t runbooks.Tier) []Finding {
	balancer, err := a.Balancers(in.Runbook.TrafficOf(t.Name))
	if err != nil {
		return []Finding{{Tier: t.Name, Check: "balancer", Level: LevelFail, What: err.Error()}}
	}
	ctx, cancel := context.WithTimeout(ctx, storeLook)
	defer cancel()
	view, err := balancer.View(ctx)
	if err != nil && len(view.Servers) == 0 {
		return []Finding{{Tier: t.Name, Check: "balancer", Level: LevelFail, What: err.Error(), Do: "see whether the load balancer runs, and may be asked from here"}}
	}
	s, ok := view.Server(t.Server)
	switch {
	case !ok:
		return []Finding{{Tier: t.Name, Check: "balancer", Level: LevelFail, What: fmt.Sprintf("it has no server %q", t.Server), Do: "add the server to its configuration"}}
	case err != nil:
		return []Finding{{Tier: t.Name, Check: "balancer", Level: LevelFail, What: err.Error(), Do: "bring all load balancers of the service to one state"}}
	case t.Hold && s.State == traffic.Ready && !s.Backup:
		return []Finding{{Tier: t.Name, Check: "balancer", Level: LevelWarn, What: t.Server + " takes traffic now, although the runbook holds it", Do: "disable the server at the load balancer"}}
	default:
		return []Finding{{Tier: t.Name, Check: "balancer", Level: LevelOK, What: fmt.Sprintf("%s is %s", t.Server, s.State)}}
	}
}

func (a *Activities) readyEpochs(ctx context.Context, in CheckReadinessInput) []Finding {
	if a.Epochs == nil {
		return []Finding{{Check: "epochs", Level: LevelWarn, What: "no epoch store is configured: two Understudys could not see each other", Do: "set epochs: in the site file"}}
	}
	known, err := a.ReadEpoch(ctx, ReadEpochInput{Service: in.Runbook.Service})
	switch {
	case err != nil:
		return []Finding{{Check: "epochs", Level: LevelFail, What: err.Error()}}
	case known.Away != "":
		return []Finding{{Check: "epochs", Level: LevelFail, What: known.Away, Do: "a hot switch goes on without the store; machines are not made"}}
	default:
		return []Finding{{Check: "epochs", Level: LevelOK, What: fmt.Sprintf("the store answers; epoch %d is the latest", known.Epoch)}}
	}
}

// readyChats asks each chat whether it knows us. Nobody is told of a chat that
// fails but by the pages and the other chats; a recovery goes on without.
func (a *Activities) readyChats(ctx context.Context, in CheckReadinessInput) (found []Finding) {
	for _, n := range in.Runbook.Notify {
		name := strings.TrimSpace(n.Kind + " " + n.Channel)
		f := Finding{Check: "chat", About: name, Level: LevelWarn}
		messenger, ok := a.Chats[n.Kind]
		if !ok {
			f.What, f.Do = "the site file has no chat of kind "+n.Kind, "set chat."+n.Kind+" in the site file"
			found = append(found, f)
			continue
		}
		c, ok := messenger.(chat.Checker)
		if !ok {
			continue // a WeCom robot cannot be asked without a message that people would read
		}
		ctx, cancel := context.WithTimeout(ctx, storeLook)
		err := c.Check(ctx)
		cancel()
		switch {
		case errors.Is(err, chat.ErrRefused):
			f.What, f.Do = name+": "+err.Error(), "nobody would be told: put a valid token where chat."+n.Kind+" of the site file says, and start Understudy anew"
		case err != nil:
			f.What, f.Do = name+": "+err.Error(), "nobody would be told now; see whether it can be reached from here"
		default:
			f.Level, f.What = LevelOK, name+" takes our token"
		}
		found = append(found, f)
	}
	return found
}

// readySecrets asks whether each secret of the site file can still be read, and
// whether others can read it too.
func (a *Activities) readySecrets() (found []Finding) {
	for _, s := range a.Secrets {
		f := Finding{Check: "secrets", About: s.String(), Level: LevelWarn}
		if _, err := secrets.Resolve(s); err != nil {
			f.What, f.Do = err.Error(), "put it there again: what needs it works only as long as it remembers the secret"
		} else if f.What = secrets.Concern(s); f.What == "" {
			continue
		} else {
			f.Do = "what it opens should be kept from others"
		}
		found = append(found, f)
	}
	return found
}

// readyDisk asks for room where the engine's file and the reports are.
func (a *Activities) readyDisk() []Finding {
	return []Finding{roomFinding(a.StateDir, "the engine's file and the reports")}
}

// roomFinding says how much is free at a path, or at what is there of it.
func roomFinding(path, what string) Finding {
	f := Finding{Check: "disk", About: path, Level: LevelOK}
	var disk syscall.Statfs_t
	at := path
	err := syscall.Statfs(at, &disk)
	for errors.Is(err, fs.ErrNotExist) && filepath.Dir(at) != at {
		at = filepath.Dir(at)
		err = syscall.Statfs(at, &disk)
	}
	if err != nil {
		f.Level, f.What = LevelWarn, fmt.Sprintf("%s: %v", path, err)
		return f
	}
	free := disk.Bavail * uint64(disk.Bsize)
	f.Level, f.What = roomLevel(free), fmt.Sprintf("%.1f GB free at %s", float64(free)/1e9, path)
	if f.Level != LevelOK {
		f.What, f.Do = fmt.Sprintf("%d MiB free at %s, for %s", free>>20, path, what), "make room at "+path
	}
	return f
}

func roomLevel(free uint64) string {
	switch {
	case free < diskLeast:
		return LevelFail
	case free < diskSpare:
		return LevelWarn
	default:
		return LevelOK
	}
}
