package reports

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// VerifyAll verifies the reports of a service, or of all, at every place of a
// store. A place that lacks the newest report of another one says so: each
// place's own chain cannot show that its end was cut off, links and all.
func VerifyAll(ctx context.Context, store Store, service string, now time.Time) ([]Verified, error) {
	all := []Verified{}
	places := Each(store)
	for _, place := range places {
		services, err := Services(ctx, place)
		if err != nil {
			return nil, err
		}
		for _, name := range services {
			if service != "" && name != service {
				continue
			}
			v, err := Verify(ctx, place, name, now)
			if err != nil {
				return nil, err
			}
			v.Place = place.Name
			all = append(all, v)
		}
	}
	for _, place := range places {
		for i := range all {
			if err := all[i].compare(ctx, place, all); err != nil {
				return nil, err
			}
		}
	}
	slices.SortStableFunc(all, func(x, y Verified) int { return strings.Compare(x.Service, y.Service) })
	return all, nil
}

// compare looks whether a place has what is the newest elsewhere.
func (v *Verified) compare(ctx context.Context, place Place, all []Verified) error {
	if place.Name != v.Place {
		return nil
	}
	for _, other := range all {
		if other.Service != v.Service || other.Place == v.Place || other.Last <= v.Last || other.Writing > 0 {
			continue // it has a newer one: what it lacks before that, it missed while it was away
		}
		_, err := place.Store.Read(ctx, other.Last+".json")
		switch {
		case errors.Is(err, ErrNone) && !slices.ContainsFunc(v.Broken, func(b Break) bool { return b.Report == other.Last }):
			v.broken(other.Last, 0, "it is the newest at "+other.Place+", and is not here: this place was away then, or its end was cut off")
		case err != nil && !errors.Is(err, ErrNone):
			return err
		}
	}
	return nil
}
