package runbooks_test

import (
	"strings"
	"testing"
)

// elsewhere is a runbook with a tier that has records of its own.
func elsewhere(traffic, more string) string {
	return minimal + `  - name: cross-region
    url: "http://{address}:7860"
    approval: {roles: [approver]}
    provision: {kind: local, command: [x]}
    traffic: {kind: route53, ` + traffic + "}\n" + more
}

func TestRecords(t *testing.T) {
	const good, server = `zone: Z0123456789ABC, record: asr.example.com, home: dc-a, front: "https://asr.example.com"`, "    server: dc-b\n"
	for name, c := range map[string]struct{ text, want string }{
		"a zone's name":      {elsewhere(strings.Replace(good, "Z0123456789ABC", "example.com", 1), server), `tiers[1].traffic.zone: "example.com" is no hosted zone; write its id`},
		"no record":          {elsewhere(strings.Replace(good, "record: asr.example.com", "record: a b", 1), server), `tiers[1].traffic.record: "a b" is no name of a record`},
		"no home":            {elsewhere(strings.Replace(good, "home: dc-a, ", "", 1), server), "tiers[1].traffic.home: the key is missing; name the set identifier of the record that leads to the site which this tier leaves"},
		"no name as home":    {elsewhere(strings.Replace(good, "home: dc-a", "home: 'dc a'", 1), server), `tiers[1].traffic.home: "dc a" is no name at a load balancer`},
		"home is not away":   {elsewhere(strings.Replace(good, "home: dc-a", "home: dc-b", 1), server), `tiers[1].traffic.home: "dc-b" is the standby's own server`},
		"no server":          {elsewhere(good, ""), "tiers[1].server: the key is missing; it is the standby's name at the load balancer"},
		"home of a balancer": {strings.Replace(minimal, "backend: asr", "backend: asr, home: dc-a", 1), "it belongs to kind route53"},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := parse(t, c.text)
			if !strings.Contains(problems.Error(), c.want) {
				t.Errorf("want %q, got:\n%s", c.want, problems.Error())
			}
		})
	}
	for name, c := range map[string]struct{ text, notice string }{
		"with all it needs": {elsewhere(good, server), ""},
		"as AWS writes it":  {elsewhere(strings.NewReplacer("Z0123", "/hostedzone/Z0123", "record: asr.example.com", "record: ASR.example.com.").Replace(good), server), ""},
		"another front":     {elsewhere(strings.Replace(good, "https://asr", "https://speech", 1), server), "notice: tiers[1].traffic.front: clients come to speech.example.com, and asr.example.com is what Understudy changes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := parse(t, c.text)
			var notices []string
			for _, p := range problems {
				notices = append(notices, p.String())
			}
			if all := strings.Join(notices, "\n"); problems.Err() != nil || (all == "") != (c.notice == "") || !strings.Contains(all, c.notice) {
				t.Errorf("want %q, got:\n%s", c.notice, all)
			}
		})
	}
}
