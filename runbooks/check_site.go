package runbooks

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

func (d *decoder) checkSite(s *Site) {
	listeners := map[string]string{}
	for key, address := range map[string]string{"api": s.Listen.API, "temporal": s.Listen.Temporal, "ui": s.Listen.UI} {
		if address == "" {
			continue
		}
		d.checkAddress("listen."+key, address)
		if host, _, err := net.SplitHostPort(address); err == nil && key != "api" && net.ParseIP(host) == nil {
			d.wrong("listen."+key, "%q is no IP address; the engine listens on a numeric one, such as 127.0.0.1", host)
		}
		if other := listeners[address]; other != "" {
			d.wrong("listen."+max(key, other), "%s is taken by listen.%s; each needs its own port", address, min(key, other))
		}
		listeners[address] = key
	}
	d.checkStores(s)
	d.checkAWS(s.AWS)
	groups := map[string]bool{}
	for i, g := range s.Sites {
		if groups[g.Name] {
			d.wrong(fmt.Sprintf("sites[%d].name", i), "site %q is there twice", g.Name)
		}
		groups[g.Name] = true
		if w := g.Watchdog; w != nil && len(w.Match) == 0 && d.known(fmt.Sprintf("sites[%d].watchdog.match", i)) {
			d.wrong(fmt.Sprintf("sites[%d].watchdog.match", i), "without labels every alert would be a sign of life; name at least one")
		}
	}
	for i, w := range s.Witnesses {
		d.checkURL(fmt.Sprintf("witnesses[%d].url", i), w.URL, "http", "https")
	}
	for i, u := range s.Users {
		if slices.ContainsFunc(s.Users[:i], func(other User) bool { return other.Name == u.Name }) {
			d.wrong(fmt.Sprintf("users[%d].name", i), "user %q is there twice; one person, one role", u.Name)
		}
	}
	d.checkURL("links.console", s.Links.Console, "http", "https")
	d.checkURL("links.temporal", s.Links.Temporal, "http", "https")
	d.checkURL("ping", s.Ping, "http", "https")
}

func (d *decoder) checkAWS(a AWS) {
	if a.AccessKey.IsZero() != a.SecretKey.IsZero() {
		d.wrong("aws", "access_key and secret_key go together; write both or neither")
	}
	if !a.SessionToken.IsZero() && a.AccessKey.IsZero() {
		d.wrong("aws.session_token", "a session token belongs to an access key; write access_key and secret_key too")
	}
	if a.Profile != "" && !a.AccessKey.IsZero() {
		d.wrong("aws.profile", "credentials come from one place; write a profile or keys")
	}
	for service, endpoint := range a.Endpoints {
		d.checkURL(join("aws.endpoints", service), strings.ReplaceAll(endpoint, "{region}", "region"), "http", "https")
	}
}

func (d *decoder) checkStores(s *Site) {
	owners := map[string]string{}
	for name, store := range s.S3 {
		path := join("s3", name)
		d.checkURL(path+".endpoint", store.Endpoint, "http", "https")
		d.checkURL(path+".machine_endpoint", store.MachineEndpoint, "http", "https")
		if store.AccessKey.IsZero() != store.SecretKey.IsZero() {
			d.wrong(path, "access_key and secret_key go together; write both or neither")
		}
		if m := store.Machines; m != "" && m != "role" && m != "anonymous" && !strings.HasPrefix(m, "/") {
			d.wrong(path+".machines", "%q is neither role nor anonymous nor the absolute path of a credentials file", m)
		}
		for i, bucket := range store.Buckets {
			if other := owners[bucket]; other != "" {
				d.wrong(fmt.Sprintf("%s.buckets[%d]", path, i), "bucket %q also belongs to s3.%s; one endpoint serves it", bucket, other)
			}
			owners[bucket] = name
		}
		if name != "default" && len(store.Buckets) == 0 {
			d.wrong(path+".buckets", "the key is missing; only s3.default serves buckets that it does not name")
		}
	}
	if e := s.Epochs; e != nil {
		if e.Patience.D() > 3*time.Second {
			d.wrong("epochs.patience", "%s is too long: users wait meanwhile; at most 3s", e.Patience)
		}
		d.checkURL("epochs.url", e.URL, "s3")
		for i, endpoint := range e.Endpoints {
			d.checkURL(fmt.Sprintf("epochs.endpoints[%d]", i), endpoint, "http", "https")
		}
	}
	d.checkURL("reports", s.Reports, "s3")
	d.checkURL("config_center", s.ConfigCenter, "http", "https")
	if c := s.Chat.Slack; c != nil && c.APIURL != "" && !strings.HasSuffix(c.APIURL, "/") {
		d.wrong("chat.slack.api_url", "%q must end with a slash", c.APIURL)
	}
}
