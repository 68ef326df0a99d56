package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"

	"github.com/understudy-dr/understudy/activities/atomicfile"
	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/settings"
	"github.com/understudy-dr/understudy/runbooks"
)

// Names of the environment variables that a made process finds.
const (
	EnvService  = "UNDERSTUDY_SERVICE"
	EnvEpoch    = "UNDERSTUDY_EPOCH"
	EnvMode     = "UNDERSTUDY_MODE"
	EnvSettings = "UNDERSTUDY_SETTINGS" // path of a JSON file: key to value, as the config center holds them
	EnvReplica  = "UNDERSTUDY_REPLICA_" // + 0, 1, ...: where the data of that number in the runbook replicates to from now on
)

// Preparation is what a machine finds when it starts.
type Preparation struct {
	Settings []runbooks.Source `json:"settings,omitempty"`
	Volumes  []runbooks.Volume `json:"volumes,omitempty"`
	Data     []runbooks.Data   `json:"data,omitempty"`
	// From is the epoch below whose prefix the data is found.
	From int64 `json:"from,omitempty"`
}

// prepare completes an order: the environment of a process on a host, or the
// document that a machine reads when it boots.
func (a *Activities) prepare(ctx context.Context, p Preparation, o *compute.Order) error {
	values, err := a.settingsFor(ctx, p.Settings)
	if err != nil {
		return err
	}
	if o.Provision.Kind != "local" {
		o.Boot, err = a.Boot(BootRequest{Order: *o, Preparation: p, Settings: values})
		return err
	}
	o.Env = maps.Clone(o.Env)
	if o.Env == nil {
		o.Env = map[string]string{}
	}
	o.Env[EnvService], o.Env[EnvEpoch], o.Env[EnvMode] = o.Service, strconv.FormatInt(o.Epoch, 10), o.Mode
	for i, d := range p.Data {
		o.Env[EnvReplica+strconv.Itoa(i)] = PrefixOf(*o, d.Replica+d.Bucket)
	}
	if len(values) > 0 && o.Provision.Here() {
		file, err := a.writeSettings(o.Key, values)
		if err != nil {
			return err
		}
		o.Env[EnvSettings] = file
	}
	return nil
}

// PrefixOf is where a machine writes the data of a base from now on.
func PrefixOf(o compute.Order, base string) string {
	if o.Mode == ModeDrill {
		return replica.DrillPrefix(base, o.Epoch)
	}
	return replica.Prefix(base, o.Epoch)
}

// BootRequest is what a boot document is rendered from.
type BootRequest struct {
	Order compute.Order
	Preparation
	Settings settings.Values
}

// settingsFor reads the configuration that a new machine must share, the last
// known one where the config center is away.
func (a *Activities) settingsFor(ctx context.Context, sources []runbooks.Source) (settings.Values, error) {
	all := settings.Values{}
	for _, source := range sources {
		reading, err := a.Settings.Read(ctx, source)
		if err != nil {
			return nil, fmt.Errorf("%w: settings for the new machine: %v", compute.ErrRefused, err)
		}
		maps.Copy(all, reading.Values)
	}
	return all, nil
}

// writeSettings puts the settings where the new process finds them. They may be
// secrets of the service: only its owner reads them.
func (a *Activities) writeSettings(key string, values settings.Values) (string, error) {
	text, err := json.MarshalIndent(values, "", "  ")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(a.StateDir, "handed")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	file := filepath.Join(dir, key+".json")
	return file, atomicfile.Write(file, text, 0o600)
}
