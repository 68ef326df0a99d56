package runbooks

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/robfig/cron/v3"
)

var (
	serviceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	// HAProxy: "A-Z a-z 0-9 - _ . :" in names of backends and servers (configuration.txt, 2.2). Names are
	// written to its socket, so nothing else may pass.
	proxyName = regexp.MustCompile(`^[A-Za-z0-9_.:-]+$`)
)

// check holds a decoded runbook against the rules that one value alone does not
// show. It runs before the defaults are filled in.
func (d *decoder) check(r *Runbook) {
	if r.Service != "" && !serviceName.MatchString(r.Service) {
		d.wrong("service", "%q is no service name; use lower-case letters, digits and dashes, at most 63", r.Service)
	}
	for i, labels := range r.Match {
		if len(labels) == 0 {
			d.wrong(fmt.Sprintf("match[%d]", i), "an entry without labels would match every alert; name at least one label")
		}
	}
	d.checkURL("primary.url", r.Primary.URL, "http", "https")
	d.checkName("primary.server", r.Primary.Server)
	if a := r.Primary.Activate; a != nil {
		d.checkCall("primary.activate.url", a.URL)
		d.checkCall("primary.activate.undo", a.Undo)
	}
	d.checkFences("primary.fence", r.Primary.Fence)
	d.checkHealth(r)
	d.checkCanary(r.Canary)
	if r.Version != nil {
		d.checkSource("version.expected", r.Version.Expected)
	}
	for i, source := range r.Settings {
		d.checkSource(fmt.Sprintf("settings[%d]", i), source)
	}
	for i, dep := range r.Depends {
		d.checkURL(fmt.Sprintf("depends[%d].url", i), dep.URL, "http", "https", "tcp", "s3")
	}
	d.checkTraffic("traffic", r.Traffic)
	d.checkTiers(r)
	d.checkData("data", r.Data)
	d.checkBatches("batches", r.Batches)
	d.checkPolicy(r)
}

func (d *decoder) checkHealth(r *Runbook) {
	if r.Health.Ready != "" {
		if _, err := expr.Compile(r.Health.Ready, expr.AsBool(), expr.AllowUndefinedVariables()); err != nil {
			first, _, _ := strings.Cut(err.Error(), "\n")
			d.wrong("health.ready", "not an expression that is true or false: %s; an example: \"model\" in models_loaded", first)
		}
	}
	if r.Health.Kind == "tcp" && (r.Health.Ready != "" || r.Health.Path != "") {
		d.wrong("health.kind", "tcp only connects; path and ready need kind: http")
	}
	if r.Health.Path != "" && !strings.HasPrefix(r.Health.Path, "/") {
		d.wrong("health.path", "%q is no path; it begins with a slash", r.Health.Path)
	}
	if h := r.Heartbeat; h != nil {
		if timeout := r.Health.Timeout.Or(400 * time.Millisecond); timeout > h.Interval.D() {
			d.wrong("heartbeat.interval", "probes may take %s, slower than this heartbeat of %s; raise the interval or lower health.timeout", timeout, h.Interval)
		}
	}
}

func (d *decoder) checkCanary(c *Canary) {
	if c == nil {
		return
	}
	if (c.Transcribe == nil) == (c.Synthesize == nil) {
		d.wrong("canary", "a canary is one of the two: write transcribe or synthesize")
	}
	if t := c.Transcribe; t != nil {
		d.checkAudio("canary.transcribe.audio", t.Audio)
		d.checkRate("canary.transcribe.max_wer", t.MaxWER)
	}
	if s := c.Synthesize; s != nil {
		d.checkRate("canary.synthesize.max_wer", s.MaxWER)
		if s.Audio != "" && s.Audio != "body" && !strings.HasPrefix(s.Audio, "json:") && !strings.HasPrefix(s.Audio, "url:") {
			d.wrong("canary.synthesize.audio", "%q is not known; allowed: body, json:FIELD, url:FIELD", s.Audio)
		}
		if s.TranscribeBack != "" {
			d.checkURL("canary.synthesize.transcribe_back", s.TranscribeBack, "http", "https")
			if s.Expect == "" {
				d.wrong("canary.synthesize.expect", "the key is missing; transcribe_back needs the words that must be heard")
			}
		}
	}
}

func (d *decoder) checkAudio(path, ref string) {
	if strings.Contains(ref, "://") {
		d.checkURL(path, ref, "http", "https", "s3", "file")
	}
}

func (d *decoder) checkRate(path string, rate float64) {
	if rate > 1 {
		d.wrong(path, "%v is out of range; a word error rate that may pass is 0 to 1", rate)
	}
}

func (d *decoder) checkSource(path string, s Source) {
	switch s.Kind {
	case "etcd":
		if (s.Key == "") == (s.Prefix == "") {
			d.wrong(path, "kind etcd reads one of the two: write key or prefix")
		}
		if s.Endpoint != "" {
			d.checkURL(path+".endpoint", s.Endpoint, "http", "https")
		}
	case "http":
		d.checkURL(path+".url", s.URL, "http", "https")
	}
	if s.Actual != "" && !strings.HasPrefix(s.Actual, "/") {
		d.wrong(path+".actual", "%q is no path; write it as /settings#hash", s.Actual)
	}
}

func (d *decoder) checkFences(path string, fences []Fence) {
	for i, f := range fences {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.checkFence(at, f)
		if f.Required && f.Confirm == nil {
			d.wrong(at+".confirm", "the key is missing; a required fence is confirmed from outside: tcp-closed, http-down or command")
		}
	}
}

func (d *decoder) checkFence(at string, f Fence) {
	if f.Kind == "http" {
		d.checkURL(at+".url", f.URL, "http", "https")
	}
	if f.Kind == "command" && len(f.Command) == 0 && d.known(at+".command") {
		d.wrong(at+".command", "the list is empty; write the program and its arguments")
	}
	if c := f.Confirm; c != nil && c.Address != "" {
		d.checkAddress(at+".confirm.address", c.Address)
	}
	if c := f.Confirm; c != nil && c.URL != "" {
		d.checkURL(at+".confirm.url", c.URL, "http", "https")
	}
}

func (d *decoder) checkTraffic(path string, t Traffic) {
	d.checkURL(path+".front", t.Front, "http", "https")
	d.checkRecord(path, t)
	if t.Kind == "haproxy" || t.Kind == "nginx" {
		d.checkName(path+".backend", t.Backend)
	}
	for name, address := range t.Servers {
		d.checkName(join(path+".servers", name), name)
		d.checkAddress(join(path+".servers", name), address)
	}
	if t.Kind == "nginx" && t.File != "" && !strings.HasPrefix(t.File, "/") {
		d.wrong(path+".file", "%q is relative; write the absolute path that nginx includes", t.File)
	}
	if t.Kind == "haproxy" && d.known(path+".sockets") && len(t.Sockets) == 0 {
		d.wrong(path+".sockets", "the list is empty; name each admin socket of each HAProxy")
	}
}

func (d *decoder) checkPolicy(r *Runbook) {
	p := r.Policy
	if p.ConfirmEvery > 0 && p.Confirm > 0 && p.ConfirmEvery > p.Confirm {
		d.wrong("policy.confirm_every", "%s is longer than the confirm window of %s", p.ConfirmEvery, p.Confirm)
	}
	if g := r.GameDay; g != nil {
		d.checkFence("game_day.stop", g.Stop)
		d.checkFence("game_day.start", g.Start)
		if g.Stop.Confirm == nil {
			d.wrong("game_day.stop.confirm", "the key is missing; that the primary was stopped is confirmed from outside: tcp-closed, http-down or command")
		}
		if g.Start.Confirm != nil {
			d.wrong("game_day.start.confirm", "a start is confirmed by the health check of the primary; remove the key")
		}
	}
	if r.Drill == nil {
		return
	}
	if _, err := cron.ParseStandard(r.Drill.Schedule); err != nil && r.Drill.Schedule != "" {
		d.wrong("drill.schedule", "%q is no schedule: %v; write five fields, such as \"0 3 1 */3 *\"", r.Drill.Schedule, err)
	}
	if _, err := time.LoadLocation(r.Drill.Timezone); err != nil {
		d.wrong("drill.timezone", "%q is no time zone; write an IANA name such as Asia/Shanghai", r.Drill.Timezone)
	}
	for i, name := range r.Drill.Tiers {
		if !slices.ContainsFunc(r.Tiers, func(t Tier) bool { return t.Name == name }) {
			d.wrong(fmt.Sprintf("drill.tiers[%d]", i), "this runbook has no tier %q; it has: %s", name, strings.Join(tierNames(r), ", "))
		}
	}
}

// known reports whether a key was written down; a missing one has its own problem already.
func (d *decoder) known(path string) bool {
	_, ok := d.positions[path]
	return ok
}

func (d *decoder) checkURL(path, text string, schemes ...string) {
	if text == "" {
		return
	}
	u, err := url.Parse(strings.ReplaceAll(text, "{address}", "address"))
	if err != nil || !slices.Contains(schemes, u.Scheme) || (u.Host == "" && u.Scheme != "file") {
		d.wrong(path, "%q is no usable URL; it begins with %s", text, strings.Join(schemes, "://, ")+"://")
		return
	}
	if u.User != nil {
		d.wrong(path, "the URL carries a password; a runbook is no place for secrets, use headers or a secret by reference")
	}
}

func (d *decoder) checkAddress(path, text string) {
	if _, port, err := net.SplitHostPort(text); err != nil || port == "" {
		d.wrong(path, "%q is no address; write host:port", text)
	}
}

func (d *decoder) checkName(path, name string) {
	if name != "" && !proxyName.MatchString(name) {
		d.wrong(path, "%q is no name at a load balancer; use letters, digits and . _ : -", name)
	}
}
