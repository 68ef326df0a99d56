package reports

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// beingWritten is how long after its link a report may still be on its way.
	beingWritten = time.Minute
	// readAtOnce is how many reports are read at a time.
	readAtOnce = 16
)

// Verified is what was found about the reports of one service at one place.
type Verified struct {
	Service string `json:"service"`
	Place   string `json:"place"`
	// Reports are those of the chain that are there and unchanged.
	Reports int `json:"reports"`
	// Older were written before the chain began: nothing can be said about them.
	Older int `json:"older,omitempty"`
	// Writing are on their way right now.
	Writing int `json:"writing,omitempty"`
	// Last is the newest report of the chain, and SHA256 its hash: kept elsewhere, it shows that nothing was cut off.
	Last   string `json:"last,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	// Broken is what was changed or is missing, the earliest first.
	Broken []Break `json:"broken,omitempty"`
}

// Break is one place at which the reports are not what was written.
type Break struct {
	// Report is its name without an extension; empty where it is not known which.
	Report string `json:"report,omitempty"`
	// Number is the place in the chain; 0 outside it.
	Number int64  `json:"number,omitempty"`
	What   string `json:"what"`
}

// Services lists the services that have reports, or links, in a store.
func Services(ctx context.Context, store Store) ([]string, error) {
	names, err := store.List(ctx, "")
	found := map[string]bool{}
	for _, name := range names {
		if service, _, below := strings.Cut(name, "/"); below {
			found[service] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), err
}

// Verify looks at every report of a service: whether each is there, is what was
// written, and stands where it stood. What somebody cut off at the end, links
// and all, leaves no trace here: [VerifyAll] compares places.
func Verify(ctx context.Context, store Store, service string, now time.Time) (Verified, error) {
	v := Verified{Service: service}
	files, err := store.List(ctx, service+"/") // before the links: what is written meanwhile is in the chain already
	if err != nil {
		return v, err
	}
	names, err := links(ctx, store, service+"/x")
	if err != nil {
		return v, err
	}
	chained, newest, err := v.follow(ctx, store, names)
	if err != nil {
		return v, err
	}
	found, err := v.look(ctx, store, newest, now)
	if err != nil {
		return v, err
	}
	v.Broken = append(v.Broken, found...)
	if err := v.outside(ctx, store, files, chained); err != nil {
		return v, err
	}
	slices.SortStableFunc(v.Broken, func(a, b Break) int {
		if (a.Number == 0) != (b.Number == 0) { // what is outside the chain comes last
			return int(b.Number - a.Number)
		}
		return int(a.Number - b.Number)
	})
	return v, nil
}

// follow goes from link to link. It returns all reports that have one, and for
// each its newest link.
func (v *Verified) follow(ctx context.Context, store Store, names []string) (chained map[string]bool, newest []Link, err error) {
	all := make([]Link, len(names))
	if err := atOnce(len(names), func(i int) (err error) {
		all[i], err = readLink(ctx, store, names[i])
		return err
	}); err != nil {
		return nil, nil, err
	}
	chained = map[string]bool{}
	before, last := Link{}, map[string]Link{}
	for _, l := range all {
		switch {
		case l.Number == before.Number+2:
			v.broken("", l.Number-1, fmt.Sprintf("link %d is missing, and perhaps its report", l.Number-1))
		case l.Number > before.Number+2:
			v.broken("", before.Number+1, fmt.Sprintf("links %d to %d are missing, and perhaps their reports", before.Number+1, l.Number-1))
		case l.Report == "":
			v.broken("", l.Number, fmt.Sprintf("link %d cannot be read", l.Number))
		case before.Report != "" || before.Number == 0:
			if l.Before != before.Report || l.BeforeSHA256 != before.SHA256 {
				v.broken(l.Report, l.Number, "it does not follow "+shown(before.Report)+", which stands before it")
			}
		}
		before = l
		if l.Report != "" {
			chained[l.Report], last[l.Report] = true, l
			v.Last, v.SHA256 = l.Report, l.SHA256
		}
	}
	return chained, slices.SortedFunc(maps.Values(last), func(a, b Link) int { return int(a.Number - b.Number) }), nil
}

// look reads the reports of the links.
func (v *Verified) look(ctx context.Context, store Store, all []Link, now time.Time) ([]Break, error) {
	found := make([]string, len(all))
	err := atOnce(len(all), func(i int) (err error) {
		found[i], err = lookAt(ctx, store, all[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	var broken []Break
	for i, l := range all {
		switch {
		case found[i] == "":
			v.Reports++
		case found[i] == gone && now.Sub(l.At) < beingWritten && now.After(l.At):
			v.Writing++
		default:
			broken = append(broken, Break{Report: l.Report, Number: l.Number, What: found[i]})
		}
	}
	return broken, nil
}

const gone = "it is missing"

// lookAt says what is wrong with the report of a link; empty where nothing is.
func lookAt(ctx context.Context, store Store, l Link) (string, error) {
	content, err := store.Read(ctx, l.Report+".json")
	switch {
	case errors.Is(err, ErrNone):
		return gone, nil
	case err != nil:
		return "", err
	}
	seal, err := open(content)
	switch {
	case err != nil:
		return err.Error(), nil
	case seal.SHA256 != l.SHA256:
		return "it was replaced: it has another hash than its link says", nil
	}
	for _, ext := range slices.Sorted(maps.Keys(seal.Files)) {
		content, err := store.Read(ctx, l.Report+ext)
		switch {
		case errors.Is(err, ErrNone):
			return "its " + ext + " file is missing", nil
		case err != nil:
			return "", err
		case sum(content) != seal.Files[ext]:
			return "its " + ext + " file is not what was written", nil
		}
	}
	return "", nil
}

// outside looks at reports that have no link: those from before the chain, and
// those that somebody put there or whose link was taken away.
func (v *Verified) outside(ctx context.Context, store Store, files []string, chained map[string]bool) error {
	first := ""
	if len(chained) > 0 {
		first = slices.Min(slices.Collect(maps.Keys(chained)))
	}
	var alone []string
	for _, name := range files {
		if report, ok := strings.CutSuffix(name, ".json"); ok && !chained[report] && path.Dir(report) == v.Service {
			alone = append(alone, report)
		}
	}
	sealed := make([]bool, len(alone))
	err := atOnce(len(alone), func(i int) error {
		content, err := store.Read(ctx, alone[i]+".json")
		if err != nil && !errors.Is(err, ErrNone) {
			return err
		}
		_, err = open(content)
		sealed[i] = !errors.Is(err, errNoSeal) && json.Valid(content)
		return nil
	})
	for i, report := range alone {
		switch {
		case sealed[i]:
			v.broken(report, 0, "it carries a seal, and its link is missing")
		case first != "" && report > first:
			v.broken(report, 0, "it stands outside the chain: it could not be sealed, or somebody put it there")
		default:
			v.Older++
		}
	}
	return err
}

func (v *Verified) broken(report string, number int64, what string) {
	v.Broken = append(v.Broken, Break{Report: report, Number: number, What: what})
}

func shown(report string) string {
	if report == "" {
		return "nothing"
	}
	return report
}

// atOnce does something for each number below count, some at a time.
func atOnce(count int, do func(i int) error) error {
	failed := make([]error, count)
	slots := make(chan struct{}, readAtOnce)
	var wg sync.WaitGroup
	for i := range count {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			failed[i] = do(i)
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}
