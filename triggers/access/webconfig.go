package access

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v2"

	"github.com/understudy-dr/understudy/runbooks"
)

// webConfig is a web config file as it was read at one moment.
type webConfig struct {
	web.Config
	stamp stamp
}

// stamp tells one content of a file from the next without reading it.
type stamp struct {
	changed time.Time
	size    int64
}

func stampOf(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stamp{info.ModTime(), info.Size()}, nil
}

// readWebConfig reads a file in the format of the Prometheus exporter toolkit.
// An unknown key, a hash that is none and a certificate that cannot be loaded
// are errors.
func readWebConfig(path string) (c webConfig, err error) {
	if c.stamp, err = stampOf(path); err != nil {
		return c, fmt.Errorf("web config: %w", err)
	}
	if err := web.Validate(path); err != nil {
		return c, fmt.Errorf("web config %s: %w", path, err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("web config: %w", err)
	}
	// The toolkit's own defaults, which its reader does not hand out.
	c.TLSConfig.MinVersion, c.TLSConfig.MaxVersion, c.HTTPConfig.HTTP2 = tls.VersionTLS12, tls.VersionTLS13, true
	if err := yaml.UnmarshalStrict(content, &c.Config); err != nil {
		return c, fmt.Errorf("web config %s: %w", path, err)
	}
	c.TLSConfig.SetDirectory(filepath.Dir(path))
	if c.RateLimiterConfig.Interval != 0 {
		return c, fmt.Errorf("web config %s: rate_limit would answer alerts with 429, which Alertmanager does not send again; remove it, failed logins are limited without it", path)
	}
	return c, nil
}

// checkUsers refuses roles that could never be used, and says who has a
// password and no role.
func (c webConfig) checkUsers(path string, users []runbooks.User) (without []string, err error) {
	for _, u := range users {
		// Somebody with a Slack id may decide there, and needs no password here.
		if _, ok := c.Users[u.Name]; !ok && u.Slack == "" {
			return nil, fmt.Errorf("users: %s has no password in basic_auth_users of %s; make its hash with: htpasswd -nBC 10 %s", u.Name, path, u.Name)
		}
	}
	for name := range c.Users {
		if !slices.ContainsFunc(users, func(u runbooks.User) bool { return u.Name == name }) {
			without = append(without, name)
		}
	}
	slices.Sort(without)
	if len(c.Users) > 0 && len(without) == len(c.Users) {
		return nil, fmt.Errorf("nobody of %s has a role (%s); name them below users: in the site file, as {name: %s, role: approver}", path, strings.Join(without, ", "), without[0])
	}
	return without, nil
}

// Loopback reports whether only this host can reach an address (host:port).
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// errOpen refuses to serve people whom nobody knows.
var errOpen = errors.New("is not loopback, and nobody would have to log in")

// checkOpen refuses an address beyond loopback without logins.
func checkOpen(address, path string, logins bool) error {
	switch {
	case Loopback(address) || logins:
		return nil
	case path == "":
		return fmt.Errorf("listen.api %s %w; name a web config file with users (listen.web_config), or listen on 127.0.0.1 behind a proxy that asks for logins", address, errOpen)
	default:
		return fmt.Errorf("listen.api %s %w: %s has no basic_auth_users", address, errOpen, path)
	}
}
