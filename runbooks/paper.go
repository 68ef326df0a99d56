package runbooks

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// paper is a runbook written out for the hands of a person.
type paper struct {
	strings.Builder
	r Runbook
}

// Paper writes a runbook out as commands for a person, in Markdown: what to do
// when Understudy itself is down. It is to be printed while all is well. Secrets
// are not in it, as they are not in the runbook.
func Paper(r Runbook) string {
	p := &paper{r: r}
	home, _ := r.TargetNamed(PrimaryName)
	p.text("# %s by hand", r.Service)
	p.text("For the day when Understudy itself is down. Pause it where it still runs (`understudy pause %s`): two hands on one switch do harm. Stop at the first tier that works.", r.Service)
	p.text("## 1. Is it down?")
	p.ask(home.URL, "the primary itself")
	p.ask(r.Traffic.Front, "as users see it")
	if r.Health.Busy > 0 {
		p.text("While it works on a long recording its health check is mute, for up to %s. Then it is busy, not dead.", r.Health.Busy)
	}
	for _, d := range r.Depends {
		p.text("What the standbys need as well: %s, %s. If that is down, mend it first.", d.Name, d.URL)
	}
	for i, t := range r.Tiers {
		p.tier(i+2, t, home)
	}
	p.text("## %d. Make sure that the failed one stays off", len(r.Tiers)+2)
	p.fences(r.Primary.Fence)
	p.text("## %d. Write down", len(r.Tiers)+3)
	p.text("When it failed, when it worked again, on which standby, and what was not as it stands here. When Understudy runs again: `understudy status %s`, and tell it where the service is with `understudy recover %s --tier ... --force`, or bring the service home first.", r.Service, r.Service)
	return p.String()
}

func (p *paper) text(format string, args ...any) { fmt.Fprintf(p, format+"\n\n", args...) }

// command writes lines for a shell, every word of the runbook quoted.
func (p *paper) command(lines ...string) { p.text("```\n%s\n```", strings.Join(lines, "\n")) }

func (p *paper) ask(base, what string) {
	if p.r.Health.Kind == "tcp" {
		p.command(fmt.Sprintf("nc -zv %s    # %s", word(base), what))
		return
	}
	p.command(fmt.Sprintf("curl -sS -i -m 5 %s    # %s", word(base+p.r.Health.Path), what))
	if p.r.Health.Ready != "" {
		p.text("It is well when this holds for the answer: `%s`", p.r.Health.Ready)
	}
}

// tier writes out one rung of the ladder.
func (p *paper) tier(number int, t Tier, home Target) {
	p.text("## %d. %s", number, t.Name)
	if t.Approval != nil && !t.Approval.Waived {
		p.text("**Ask first**: %s must agree.", strings.Join(t.Approval.Roles, " or "))
	}
	target, _ := p.r.TargetNamed(t.Name)
	if t.Provision != nil {
		p.text("Write the machine's address in the place of `%s` below.", AddressMark)
		p.make(t)
	}
	if t.Activate != nil {
		p.text("Tell it that it serves from now on. In the place of `{epoch}` stands a number that is higher than any before; the Unix time will do. In that of `{from}` stands the epoch of the newest data, 0 where it never moved.")
		p.command("curl -sS -X " + t.Activate.Method + bearing(t.Activate.Token) + " " + word(under(target.URL, t.Activate.URL)))
	}
	p.text("Is it well?")
	p.ask(target.URL, t.Name)
	if v := p.r.Version; v != nil {
		expected := "what the config center says: " + strings.TrimSpace(v.Expected.Endpoint+" "+v.Expected.Key+v.Expected.URL)
		if v.Expected.Kind == "value" {
			expected = v.Expected.Value
		}
		p.command(fmt.Sprintf("curl -sS -m 5 %s    # must be %s", word(target.URL+v.Actual.Path), expected))
	}
	p.canary(target.URL)
	p.text("Move the traffic: %s off, %s on.", home.Server, target.Server)
	p.traffic(p.r.TrafficOf(t.Name), home, target)
	p.text("And through the front door:")
	p.canary(p.r.TrafficOf(t.Name).Front)
}

// bearing is the header that a call bears its token in.
func bearing(token Secret) string {
	switch {
	case token.File != "":
		return ` -H "Authorization: Bearer $(cat ` + word(token.File) + `)"`
	case token.Env != "":
		return ` -H "Authorization: Bearer $` + token.Env + `"`
	default:
		return ""
	}
}

// make writes out how a machine is made, and what it needs.
func (p *paper) make(t Tier) {
	if t.Provision.Kind == "ec2" || t.Provision.Kind == "libvirt" {
		for _, at := range t.Provision.Placements {
			if t.Provision.Kind == "ec2" {
				p.command(fmt.Sprintf("aws ec2 run-instances --region %s --image-id %s --instance-type %s --subnet-id %s --security-group-ids %s --iam-instance-profile Name=%s --count 1",
					word(at.Region), word(at.Image), word(at.Type), word(at.Subnet), words(at.SecurityGroups), word(t.Provision.Profile)))
				continue
			}
			p.text("A machine from image %s at %s.", at.Image, t.Provision.URI)
		}
		p.text("One machine is enough: go to the next place only when the one before has said no.")
	}
	for _, v := range t.Volumes {
		p.text("Its model, at %s:", v.Mount)
		p.command(fmt.Sprintf("aws s3 sync %s %s", word(v.Source), word(v.Mount)), fmt.Sprintf("cd %s && sha256sum --quiet -c %s && cat VERSION", word(v.Mount), word(v.Manifest)))
	}
	for _, d := range p.r.DataOf(t.Name) {
		if d.Kind == "files" {
			p.text("Its files, from the prefix of the newest epoch:")
			p.command("aws s3 ls "+word(d.Bucket+"/"), fmt.Sprintf("aws s3 sync %s %s", word(d.Bucket+"/epoch-NEWEST"), word(d.Path)))
			continue
		}
		p.text("Its data, from the prefix of the newest epoch, only where the service is stopped:")
		p.command("aws s3 ls "+word(d.Replica+"/"), fmt.Sprintf("litestream restore -if-replica-exists -integrity-check quick -o %s %s", word(d.Path), word(d.Replica+"/epoch-NEWEST")))
		if d.Check != "" {
			p.command(fmt.Sprintf("sqlite3 %s %s", word(d.Path), word(d.Check)))
		}
	}
	if len(t.Provision.Command) > 0 {
		p.text("Start it%s:", map[bool]string{true: " on " + t.Provision.Host}[t.Provision.Host != ""])
		line := words(t.Provision.Command)
		for _, name := range slices.Backward(slices.Sorted(maps.Keys(t.Provision.Env))) {
			line = name + "=" + word(t.Provision.Env[name]) + " " + line
		}
		if t.Provision.Dir != "" {
			line = "cd " + word(t.Provision.Dir) + " && " + line
		}
		p.command(line)
	}
}

// canary writes out the inference that proves an instance.
func (p *paper) canary(base string) {
	c := p.r.Canary
	switch {
	case c == nil:
		p.ask(base, "no canary is written down")
	case c.Transcribe != nil:
		path, field := c.Transcribe.Path, "file"
		if path == "" {
			path = map[string]string{"funasr": "/asr"}[c.Transcribe.Dialect]
		}
		if path == "" {
			path = "/v1/audio/transcriptions"
		}
		p.command(fmt.Sprintf("curl -sS -m 60 -F %s %s    # the file: %s", word(field+"=@canary.wav"), word(base+path), c.Transcribe.Audio))
		p.text("It must hear: **%s**", c.Transcribe.Expect)
	default:
		body, err := json.Marshal(c.Synthesize.JSON)
		if err != nil {
			body = []byte("{}") // what a YAML file holds can be written as JSON
		}
		p.command(fmt.Sprintf("curl -sS -m 60 -H 'Content-Type: application/json' -d %s %s -o canary.wav    # listen to it", word(string(body)), word(base+c.Synthesize.Path)))
	}
}

// traffic writes out the switch at a load balancer.
func (p *paper) traffic(t Traffic, from, to Target) {
	switch t.Kind {
	case "haproxy":
		for _, socket := range t.Sockets {
			at := "unix-connect:" + socket
			if strings.Contains(socket, ":") {
				at = "tcp-connect:" + socket
			}
			p.command(
				fmt.Sprintf("echo %s | socat stdio %s", word("set server "+t.Backend+"/"+to.Server+" state ready"), word(at)),
				fmt.Sprintf("echo %s | socat stdio %s", word("set server "+t.Backend+"/"+from.Server+" state maint"), word(at)),
				fmt.Sprintf("echo %s | socat stdio %s", word("show servers state "+t.Backend), word(at)))
		}
		if strings.Contains(to.URL, AddressMark) {
			p.text("Before that, for a machine that was made: `set server %s/%s addr ADDRESS port PORT`.", t.Backend, to.Server)
		}
	case "nginx":
		p.text("In %s, put `down` behind the line of %s (%s), and take it away from that of %s (%s); then:", t.File, from.Server, t.Servers[from.Server], to.Server, t.Servers[to.Server])
		p.command(words(t.Test) + " && " + words(t.Reload))
	case "route53":
		p.text("In zone %s, give the record %s with the set identifier %s the weight 100, and that of %s the weight 0.", t.Zone, t.Record, to.Server, from.Server)
	default:
		p.text("By what %s does: %s on, %s off.", words(t.Command), to.Server, from.Server)
	}
}

func (p *paper) fences(all []Fence) {
	if len(all) == 0 {
		p.text("No fence is written down: stop it by hand, and see that it stays off.")
	}
	for _, f := range all {
		if f.Kind == "command" {
			p.command(words(f.Command))
		} else {
			p.command(fmt.Sprintf("curl -sS -X %s %s", f.Method, word(f.URL)))
		}
		if f.Confirm != nil {
			p.text("See from outside that it holds (%s).", f.Confirm.Kind)
		}
	}
}

// under is a call at an instance: a path of it, or a URL of its own.
func under(base, call string) string {
	if strings.HasPrefix(call, "/") {
		return base + call
	}
	return call
}

// word quotes a text for a shell, where that is needed.
func word(text string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("/:.,_-+@%={}", c)
	}
	if text != "" && !strings.ContainsFunc(text, func(c rune) bool { return !plain(c) }) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

func words(all []string) string {
	quoted := make([]string, len(all))
	for i, one := range all {
		quoted[i] = word(one)
	}
	return strings.Join(quoted, " ")
}
