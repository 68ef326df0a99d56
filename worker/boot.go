package worker

import (
	"cmp"
	"maps"
	"slices"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/compute/boot"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/runbooks"
)

// bootDocument renders what a machine does first. It reaches its stores as the
// site file says, and signs with its own role: no credential travels.
func bootDocument(r activities.BootRequest, stores map[string]runbooks.S3) (string, error) {
	m := boot.Machine{Order: r.Order, Settings: r.Settings, Env: r.Order.Env}
	for _, v := range r.Volumes {
		m.Volumes = append(m.Volumes, boot.Volume{Volume: v, Store: storeOf(v.Source, stores)})
	}
	for _, d := range r.Data {
		base := d.Replica + d.Bucket
		one := boot.Data{Data: d, Store: storeOf(base, stores), To: activities.PrefixOf(r.Order, base), From: replica.Prefix(base, r.From)}
		m.Data = append(m.Data, one)
	}
	return boot.Render(m)
}

// storeOf is how a machine reaches the bucket of an s3:// URL.
func storeOf(url string, stores map[string]runbooks.S3) boot.Store {
	at, err := s3client.ParseURL(url)
	if err != nil {
		return boot.Store{}
	}
	found, ok := stores["default"]
	for _, name := range slices.Sorted(maps.Keys(stores)) {
		if slices.Contains(stores[name].Buckets, at.Bucket) {
			found, ok = stores[name], true
		}
	}
	if !ok {
		return boot.Store{}
	}
	return boot.Store{Endpoint: cmp.Or(found.MachineEndpoint, found.Endpoint), Region: found.Region, PathStyle: found.PathStyle, Login: found.Machines}
}
