package activities

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// hashFor is how long one look may hash what was never hashed of one model; the rest comes at the next looks.
	hashFor = time.Minute
	// placeLook bounds the question whether one place would take an order. A cloud that needs longer is not one to count on.
	placeLook = 30 * time.Second
)

// readyToMake asks whether a machine would be made at each of its places, and
// would find its model and its data.
func (a *Activities) readyToMake(ctx context.Context, in CheckReadinessInput, t runbooks.Tier) (found []Finding) {
	var places, depends, data, models, version []Finding
	var wg sync.WaitGroup
	wg.Go(func() { places = a.readyPlaces(ctx, in, t) })
	wg.Go(func() { depends = a.readyDepends(ctx, in, t) })
	wg.Go(func() { data = a.readyData(ctx, in, t) })
	wg.Go(func() { models = a.readyVolumes(ctx, t) })
	wg.Go(func() { version = a.readyModel(ctx, in, t) })
	wg.Wait()
	return slices.Concat(places, depends, data, models, version)
}

// readyPlaces asks every place, not only until one would do: an image that is
// missing in the second region shows before the first one fails. Where some
// place would take the order, the others are worth knowing and stop nothing.
func (a *Activities) readyPlaces(ctx context.Context, in CheckReadinessInput, t runbooks.Tier) []Finding {
	provider, err := a.Providers(*t.Provision)
	if err != nil {
		return []Finding{{Tier: t.Name, Check: "machine", Level: LevelFail, What: err.Error()}}
	}
	places := t.Provision.Places()
	failed := make([]error, len(places))
	var wg sync.WaitGroup
	for i, place := range places {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, placeLook)
			defer cancel()
			failed[i] = provider.Check(ctx, compute.Order{
				Key: "check", Service: in.Runbook.Service, Mode: ModeDrill, Expires: time.Now().Add(time.Hour), Provision: *t.Provision, Placement: place,
			})
		})
	}
	wg.Wait()
	told := a.toldByPlaces(ctx, in.Runbook.Service, t.Name)
	var found []Finding
	for i, place := range places {
		f := Finding{Tier: t.Name, Check: "machine", About: place.Text(), Level: LevelFail}
		switch last, known := told[place.Text()]; {
		case failed[i] != nil:
			f.What, f.Do = place.Text()+": "+failed[i].Error(), placeRemedy(failed[i], *t.Provision)
		case known && last.State != reports.Done:
			// A place can be asked for permission beforehand, and not for room: that shows in an order alone.
			f.What = fmt.Sprintf("%s: it would take an order, but refused the latest one, %s: %s", place.Text(), last.At.UTC().Format("2006-01-02 15:04 UTC"), last.Reason)
			f.Do = fmt.Sprintf("%s; then understudy drill %s --tier %s asks again", toldRemedy(last.Reason), in.Runbook.Service, t.Name)
		default:
			continue
		}
		found = append(found, f)
	}
	good := len(places) - len(found)
	if good == 0 {
		return found
	}
	for i := range found {
		found[i].Level = LevelWarn
	}
	what := "a machine would be made here"
	if t.Provision.Kind != "local" {
		what = fmt.Sprintf("%d of %d places would take an order", good, len(places))
	}
	return append(found, Finding{Tier: t.Name, Check: "machine", Level: LevelOK, What: what})
}

// placeRemedy is what a person can do about a place that would not take an order.
func placeRemedy(err error, p runbooks.Provision) string {
	switch {
	case errors.Is(err, compute.ErrCredentials):
		return "renew the credentials; an order waits for them"
	case errors.Is(err, compute.ErrQuota):
		return "ask for a higher quota"
	case errors.Is(err, compute.ErrCapacity):
		return "name another place or type in the runbook, or reserve capacity"
	case errors.Is(err, compute.ErrRefused) && p.Kind == "local":
		return "mend what it says on the host"
	case errors.Is(err, compute.ErrRefused):
		return "mend the placement in the runbook, its image, or what Understudy may do there"
	default:
		return "see whether the provider can be reached from here"
	}
}

func toldRemedy(reason string) string {
	if strings.Contains(reason, compute.ErrQuota.Error()) {
		return "ask for a higher quota"
	}
	return "name another place or type, or reserve capacity"
}

// toldByPlaces is what the latest order at each place came to, as the reports
// tell. Only a quota and a want of room count: what else goes wrong with an
// order, a look finds out.
func (a *Activities) toldByPlaces(ctx context.Context, service, tier string) map[string]reports.Placed {
	if a.Reports == nil {
		return nil
	}
	past, err := reports.Recall(ctx, a.Reports, service, "", pastRuns)
	if err != nil {
		return nil
	}
	told := map[string]reports.Placed{}
	for _, run := range past.Runs {
		for _, p := range run.Placed {
			full := strings.Contains(p.Reason, compute.ErrQuota.Error()) || strings.Contains(p.Reason, compute.ErrCapacity.Error())
			if p.Tier == tier && (p.State == reports.Done || full) {
				told[p.Place] = p
			}
		}
	}
	return told
}

// readyDepends asks for what all machines need in common.
func (a *Activities) readyDepends(ctx context.Context, in CheckReadinessInput, t runbooks.Tier) (found []Finding) {
	for _, d := range in.Runbook.Depends {
		f := Finding{Tier: t.Name, Check: "depends", About: d.Name, Level: LevelOK, What: d.Name + " is up"}
		if why := a.dependencyDown(ctx, d); why != "" {
			f.Level, f.What, f.Do = LevelFail, fmt.Sprintf("%s is down (%s)", d.Name, why), "bring "+d.URL+" back; no machine would do without it"
		}
		found = append(found, f)
	}
	return found
}

// readyData asks how far the data could be restored, and whether there is room for it.
func (a *Activities) readyData(ctx context.Context, in CheckReadinessInput, t runbooks.Tier) (found []Finding) {
	for _, d := range in.Runbook.DataOf(t.Name) {
		gate := a.checkData(ctx, CheckMachineInput{Data: DataInput{Data: []runbooks.Data{d}, From: in.DataEpoch, Known: in.DataKnown, Before: 1<<63 - 1}})
		for _, refusal := range gate.Refusals {
			found = append(found, Finding{Tier: t.Name, Check: "data", About: d.Path, Level: LevelFail, What: strings.TrimPrefix(refusal, "data: "),
				Do: "see whether the primary replicates, and whether the store may be read with these credentials"})
		}
		for _, p := range gate.Points {
			found = append(found, lagFinding(t.Name, p))
		}
		if !t.Provision.Here() {
			continue
		}
		if f := roomFinding(filepath.Dir(d.Path), "the restored data"); f.Level != LevelOK {
			f.Tier = t.Name
			found = append(found, f)
		}
	}
	return found
}

func lagFinding(tier string, p DataPoint) Finding {
	lag := p.Point.Lag(time.Now()).Round(time.Second)
	f := Finding{Tier: tier, Check: "data", About: p.Data.Path, Level: LevelOK, What: fmt.Sprintf("%s can be restored to %s ago (epoch %d, %s)", p.Data.Path, lag, p.Point.Epoch, p.Point.Position)}
	if p.Data.MaxLag > 0 && lag > p.Data.MaxLag.D() {
		f.Level, f.Do = LevelWarn, "see whether the primary still replicates, or only had nothing to write"
	}
	return f
}

// readyVolumes proves the model volumes of a tier where they live: a file that
// is missing, too much, too short or changed is named now, and not by a machine
// that is made for nothing. For a machine on this host it is asked as well
// whether there is room for a copy.
func (a *Activities) readyVolumes(ctx context.Context, t runbooks.Tier) (found []Finding) {
	if a.Models == nil {
		return nil
	}
	for _, v := range t.Volumes {
		f := Finding{Tier: t.Name, Check: "model", About: v.Source, Level: LevelOK}
		p, err := a.Models.Prove(ctx, v, hashFor)
		switch {
		case errors.Is(err, volumes.ErrWrong):
			f.Level, f.What, f.Do = LevelFail, err.Error(), "push the model anew: understudy volume push DIR "+v.Source
		case err != nil:
			f.Level, f.What, f.Do = LevelFail, err.Error(), "see whether the store is up, and may be read with these credentials"
		case p.Proven < p.Bytes:
			f.What = fmt.Sprintf("%s: %.0f%% of %.1f GB are hashed and right; the rest comes at the next looks", v.Source, 100*float64(p.Proven)/float64(p.Bytes), float64(p.Bytes)/1e9)
		default:
			f.What = fmt.Sprintf("%s: all %d files are there, and every byte is right", v.Source, p.Files)
		}
		found = append(found, f)
		if err == nil && t.Provision.Here() {
			found = append(found, a.readyRoom(ctx, t, v)...)
		}
	}
	return found
}

// readyRoom asks the mounter whether it could bring a volume whose content is right.
func (a *Activities) readyRoom(ctx context.Context, t runbooks.Tier, v runbooks.Volume) []Finding {
	f := Finding{Tier: t.Name, Check: "disk", About: v.Mount, Level: LevelFail}
	mounter, err := a.Mounter(v)
	if err == nil {
		inspector, ok := mounter.(volumes.Inspector)
		if !ok {
			return nil
		}
		_, err = inspector.Inspect(ctx, v)
	}
	if err == nil {
		return nil
	}
	f.What, f.Do = err.Error(), "make room at "+v.Mount+", or mount the model instead of copying it"
	if !errors.Is(err, volumes.ErrRefused) {
		f.Check, f.Do = "model", "see whether the store is up"
	}
	return []Finding{f}
}

// readyModel compares the version of the model in the store with the expected one.
func (a *Activities) readyModel(ctx context.Context, in CheckReadinessInput, t runbooks.Tier) []Finding {
	if in.Runbook.Version == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeLook)
	defer cancel()
	reading, err := a.Settings.Read(ctx, in.Runbook.Version.Expected)
	if err != nil {
		return []Finding{{Tier: t.Name, Check: "version", Level: LevelFail, What: "the expected version is not known: " + err.Error(), Do: "see whether the config center is up"}}
	}
	var found []Finding
	for _, v := range t.Volumes {
		content, err := a.Sources.Read(ctx, v.Source+"/VERSION")
		if err != nil {
			continue // not every model has one; the gate asks the loaded model itself
		}
		version := strings.TrimSpace(string(content))
		f := Finding{Tier: t.Name, Check: "version", About: v.Source, Level: LevelOK, What: fmt.Sprintf("%s holds version %s", v.Source, version)}
		if version != reading.Single() {
			f.Level, f.Do = LevelFail, fmt.Sprintf("push version %s to %s: understudy volume push DIR %s", reading.Single(), v.Source, v.Source)
			f.What += ", expected " + reading.Single()
		}
		found = append(found, f)
	}
	return found
}
