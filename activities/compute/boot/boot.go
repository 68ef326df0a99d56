// Package boot renders what a machine that is made from an image does first: a
// cloud-init document that every provider hands over in its own way.
//
// The document brings the model volumes with the tools that the image has
// (mount-s3, s3fs, aws), proves every file against its manifest, restores the
// data with Litestream, writes the settings, and starts the service as a systemd
// unit that needs all that: a machine with a wrong model never serves. Each step is a line on the console,
// such as "understudy: step mount done /models/asr"; [Steps] reads them. It works
// again at each later boot of a machine that was stopped.
//
// It carries no secrets: a machine signs with its role, or with a credentials
// file that its image has. Whatever a runbook says becomes data there, in files
// that a fixed script reads, and is never part of a script.
package boot

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/runbooks"
)

// Where things are on the machine.
const (
	dir          = "/etc/understudy"
	scriptPath   = "/usr/local/lib/understudy/boot"
	settingsPath = dir + "/settings.json"
	envPath      = dir + "/service.env"
	volumesUnit  = "understudy-boot.service"
	hashUnit     = "understudy-hash.service"
	commandUnit  = "understudy-service.service"
)

// Ways in which a machine signs its requests to a store.
const (
	// Role is that of the machine.
	Role = "role"
	// Anonymous is for buckets that everybody may read.
	Anonymous = "anonymous"
)

//go:embed boot.sh
var script string

// Store is how a machine reaches a bucket.
type Store struct {
	// Endpoint is a URL; empty for AWS.
	Endpoint  string
	Region    string
	PathStyle bool
	// Login is Role, Anonymous, or the path of a credentials file on the image, in the format of the AWS tools.
	// Empty is Role.
	Login string
}

// Volume is a model volume with its store.
type Volume struct {
	runbooks.Volume
	Store Store
}

// Data is what follows the service, with its store.
type Data struct {
	runbooks.Data
	Store Store
	// From is where it is restored from, s3://bucket/prefix/epoch-N. Empty restores nothing.
	From string
	// To is where it replicates to from now on; the service finds it in UNDERSTUDY_REPLICA_0 and so on.
	To string
}

// Machine is what a document is for.
type Machine struct {
	Order   compute.Order
	Volumes []Volume
	Data    []Data
	// Settings are key to value, as the config center holds them; the service finds them in the JSON file that
	// UNDERSTUDY_SETTINGS names.
	Settings map[string]string
	// Env is added to the environment of the service.
	Env map[string]string
}

// Render writes the document. What cannot be handed over is compute.ErrRefused,
// with the key of the runbook.
func Render(m Machine) (string, error) {
	var d document
	volumes, err := volumeLines(m.Volumes)
	if err != nil {
		return "", err
	}
	d.file(scriptPath, "0755", script)
	if volumes != "" {
		d.file(dir+"/volumes", "0644", volumes)
	}
	if err := d.data(m); err != nil {
		return "", err
	}
	if user := m.Order.Provision.User; user != "" {
		if !userName.MatchString(user) {
			return "", refused("provision.user", "%q is no user name", user)
		}
		d.file(dir+"/owner", "0644", user+"\n")
	}
	env, err := environment(m)
	if err != nil {
		return "", err
	}
	d.file(envPath, "0600", env)
	if len(m.Settings) > 0 {
		if err := d.settings(m); err != nil {
			return "", err
		}
	}
	if err := d.units(m); err != nil {
		return "", err
	}
	return d.String(), nil
}

// units writes the systemd units, and what starts them.
func (d *document) units(m Machine) error {
	p := m.Order.Provision
	start, started := "", []string{}
	if len(m.Volumes) > 0 || restores(m) {
		d.file("/etc/systemd/system/"+volumesUnit, "0644", fmt.Sprintf(bootUnitText, scriptPath, scriptPath))
		start, started = volumesUnit, append(started, volumesUnit)
	}
	needs := ""
	if start != "" {
		needs = "Requires=" + volumesUnit + "\nAfter=" + volumesUnit + "\n"
	}
	switch {
	case len(p.Command) > 0:
		text, err := commandText(m.Order, needs)
		if err != nil {
			return err
		}
		d.file("/etc/systemd/system/"+commandUnit, "0644", text)
		start, started = commandUnit, append(started, commandUnit)
	case p.Unit != "":
		if !unitName.MatchString(p.Unit) {
			return refused("provision.unit", "%q is no unit", p.Unit)
		}
		d.file("/etc/systemd/system/"+p.Unit+".d/50-understudy.conf", "0644", fmt.Sprintf(dropInText, needs, envPath, scriptPath))
		start, started = p.Unit, append(started, p.Unit)
	}
	if slices.ContainsFunc(m.Volumes, func(v Volume) bool { return v.Verify == "size" }) {
		d.file("/etc/systemd/system/"+hashUnit, "0644", fmt.Sprintf(hashUnitText, volumesUnit, volumesUnit, scriptPath))
		started = append(started, hashUnit)
	}
	if len(started) == 0 {
		return nil
	}
	d.run("systemctl", "daemon-reload")
	d.run(append([]string{"systemctl", "enable"}, started...)...)
	// Cloud-init runs within the boot: whoever waited for a unit here could wait for himself.
	d.run("systemctl", "start", "--no-block", start)
	if started[len(started)-1] == hashUnit {
		d.run("systemctl", "start", "--no-block", hashUnit)
	}
	return nil
}

// settings writes what the config center holds. A unit of the image may run as
// any user; the user of a command is known, and is the only one who reads them.
func (d *document) settings(m Machine) error {
	text, err := settingsText(m.Settings)
	if err != nil {
		return err
	}
	if len(m.Order.Provision.Command) == 0 {
		d.file(settingsPath, "0644", text)
		return nil
	}
	d.file(settingsPath, "0600", text)
	if user := m.Order.Provision.User; user != "" {
		d.run("chown", "--", user, settingsPath)
	}
	return nil
}

// volumeLines is the table that the script reads: fields with tabs between them,
// none of them empty.
func volumeLines(volumes []Volume) (string, error) {
	var b strings.Builder
	for i, v := range volumes {
		key := fmt.Sprintf("volumes[%d]", i)
		from, err := s3client.ParseURL(v.Source)
		if err != nil {
			return "", refused(key+".source", "%v", err)
		}
		reach, err := v.Store.fields(key)
		if err != nil {
			return "", err
		}
		mode, writable := or(v.Mode, "mount"), "no"
		if v.Writable {
			mode, writable = "copy", "yes"
		}
		fields := append([]string{
			from.Bucket, or(from.Key, "-"), strings.TrimRight(v.Mount, "/"), or(v.Manifest, "MANIFEST.sha256"), or(v.Verify, "full"), mode, writable,
		}, reach...)
		if err := checkFields(key, fields); err != nil {
			return "", err
		}
		if err := checkPath(key+".mount", v.Mount); err != nil {
			return "", err
		}
		if strings.Contains(v.Manifest, "/") {
			return "", refused(key+".manifest", "%q is not the name of a file", v.Manifest)
		}
		b.WriteString(strings.Join(fields, "\t") + "\n")
	}
	return b.String(), nil
}

// fields are how the script reaches a store.
func (s Store) fields(key string) ([]string, error) {
	login := or(s.Login, Role)
	if login != Role && login != Anonymous && !strings.HasPrefix(login, "/") {
		return nil, refused(key, "%q is neither role nor anonymous nor the path of a file", login)
	}
	style := map[bool]string{true: "path", false: "host"}[s.PathStyle]
	return []string{or(strings.TrimSuffix(s.Endpoint, "/"), "-"), or(s.Region, s3client.DefaultRegion), style, login}, nil
}

// checkFields refuses what the tables cannot hold. Commas separate the options
// of s3fs.
func checkFields(key string, fields []string) error {
	for _, f := range fields {
		if err := plain(key, f); err != nil {
			return err
		}
		if strings.ContainsAny(f, `,\`) {
			return refused(key, "%q has a comma or a backslash, which s3fs takes for something else", f)
		}
	}
	return nil
}

// checkPath refuses what is no place for something that is made anew.
func checkPath(key, path string) error {
	if !strings.HasPrefix(path, "/") || strings.Trim(path, "/") == "" || strings.Contains(path, "/..") {
		return refused(key, "%q is not an absolute path below the root", path)
	}
	return nil
}

// environment is the file that systemd reads for the service.
func environment(m Machine) (string, error) {
	o := m.Order
	all := map[string]string{}
	maps.Copy(all, o.Provision.Env)
	maps.Copy(all, o.Env)
	maps.Copy(all, m.Env)
	all["UNDERSTUDY_SERVICE"], all["UNDERSTUDY_EPOCH"], all["UNDERSTUDY_MODE"] = o.Service, strconv.FormatInt(o.Epoch, 10), o.Mode
	if len(m.Settings) > 0 {
		all["UNDERSTUDY_SETTINGS"] = settingsPath
	}
	for i, data := range m.Data {
		if data.To != "" {
			all[fmt.Sprintf("UNDERSTUDY_REPLICA_%d", i)] = data.To
		}
	}
	var b strings.Builder
	b.WriteString("# written by understudy\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !envName.MatchString(name) {
			return "", refused("provision.env", "%q is no name of a variable", name)
		}
		if err := plain("provision.env."+name, all[name]); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s=%s\n", name, quoteEnv(all[name]))
	}
	return b.String(), nil
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

func refused(key, format string, args ...any) error {
	return fmt.Errorf("%w: %s: "+format, append([]any{compute.ErrRefused, key}, args...)...)
}
