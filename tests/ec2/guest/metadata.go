package guest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/tests/ec2"
)

const (
	tokenHeader = "X-Aws-Ec2-Metadata-Token"
	ttlHeader   = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	// maxTTL is the longest life of a token: six hours.
	maxTTL = 6 * time.Hour
)

// Credentials are those of a role.
type Credentials struct {
	AccessKey, SecretKey, Token string
	Expires                     time.Time
}

// metadata is the instance metadata service of one instance, to EC2's user
// guide: version 2 gives a token for a PUT, without which nothing is answered
// where the instance requires it.
type metadata struct {
	boot ec2.Boot
	role func(profile string) (Credentials, error)

	mu     sync.Mutex
	tokens map[string]time.Time
}

func newMetadata(b ec2.Boot, role func(string) (Credentials, error)) *metadata {
	return &metadata{boot: b, role: role, tokens: map[string]time.Time{}}
}

func (m *metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", "EC2ws")
	_, path, versioned := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case r.Method == http.MethodPut && path == "api/token":
		m.token(w, r)
	case r.Method != http.MethodGet:
		http.Error(w, "405 - Method Not Allowed", http.StatusMethodNotAllowed)
	case !m.may(r):
		http.Error(w, "401 - Unauthorized", http.StatusUnauthorized)
	case !versioned && r.URL.Path == "/":
		fmt.Fprint(w, "1.0\n2016-09-02\nlatest\n")
	case path == "user-data" && m.boot.UserData != "":
		fmt.Fprint(w, m.boot.UserData)
	default:
		m.tell(w, path)
	}
}

// token gives a token. A request that a proxy has passed on gets none.
func (m *metadata) token(w http.ResponseWriter, r *http.Request) {
	seconds, err := strconv.Atoi(r.Header.Get(ttlHeader))
	ttl := time.Duration(seconds) * time.Second
	switch {
	case r.Header.Get("X-Forwarded-For") != "":
		http.Error(w, "403 - Forbidden", http.StatusForbidden)
		return
	case err != nil || ttl < time.Second || ttl > maxTTL:
		http.Error(w, "400 - Bad Request", http.StatusBadRequest)
		return
	}
	token := rand.Text() + "=="
	m.mu.Lock()
	m.tokens[token] = time.Now().Add(ttl)
	m.mu.Unlock()
	w.Header().Set(ttlHeader, strconv.Itoa(seconds))
	fmt.Fprint(w, token)
}

func (m *metadata) may(r *http.Request) bool {
	token := r.Header.Get(tokenHeader)
	if token == "" {
		return m.boot.Tokens != "required"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Before(m.tokens[token])
}

// tell answers what lies below meta-data: a value, or a list of what is below.
func (m *metadata) tell(w http.ResponseWriter, path string) {
	all := m.values()
	if value, known := all[path]; known {
		fmt.Fprint(w, value())
		return
	}
	var below []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if rest, inside := strings.CutPrefix(name, strings.TrimSuffix(path, "/")+"/"); inside {
			first, _, deeper := strings.Cut(rest, "/")
			if deeper {
				first += "/"
			}
			if !slices.Contains(below, first) {
				below = append(below, first)
			}
		}
	}
	if len(below) == 0 {
		http.Error(w, "404 - Not Found", http.StatusNotFound)
		return
	}
	fmt.Fprint(w, strings.Join(below, "\n"))
}

// values are those that an instance finds, by path.
func (m *metadata) values() map[string]func() string {
	text := func(s string) func() string { return func() string { return s } }
	all := map[string]func() string{
		"meta-data/ami-id": text(m.boot.Image), "meta-data/instance-id": text(m.boot.ID), "meta-data/instance-type": text(m.boot.Type),
		"meta-data/local-ipv4": text(m.boot.Address), "meta-data/local-hostname": text("ip-" + strings.ReplaceAll(m.boot.Address, ".", "-")),
		"meta-data/placement/region": text(m.boot.Region), "meta-data/placement/availability-zone": text(m.boot.Zone),
		"dynamic/instance-identity/document": func() string {
			return document(map[string]string{"region": m.boot.Region, "availabilityZone": m.boot.Zone, "instanceId": m.boot.ID, "imageId": m.boot.Image,
				"instanceType": m.boot.Type, "privateIp": m.boot.Address, "accountId": ec2.Account})
		},
	}
	if m.boot.Profile != "" && m.role != nil {
		all["meta-data/iam/security-credentials/"+m.boot.Profile] = m.credentials
	}
	return all
}

// credentials are those of the instance's role, as tools read them.
func (m *metadata) credentials() string {
	c, err := m.role(m.boot.Profile)
	if err != nil {
		return document(map[string]string{"Code": "AssumeRoleUnauthorizedAccess", "Message": err.Error()})
	}
	return document(map[string]string{
		"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": stamp(time.Now()), "AccessKeyId": c.AccessKey, "SecretAccessKey": c.SecretKey, "Token": c.Token, "Expiration": stamp(c.Expires),
	})
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func document(fields map[string]string) string {
	text, err := json.MarshalIndent(fields, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}
