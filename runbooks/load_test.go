package runbooks_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

const minimal = `apiVersion: understudy/v1
service: asr
match: [{alertname: Down, service: asr}]
primary: {url: "http://127.0.0.1:1", server: primary}
traffic: {kind: haproxy, sockets: [/run/haproxy.sock], backend: asr, front: "http://127.0.0.1:3"}
tiers:
  - {name: hot, url: "http://127.0.0.1:2", server: hot}
`

func parse(t *testing.T, text string) (runbooks.Runbook, runbooks.Problems) {
	t.Helper()
	return runbooks.ParseRunbook("r.yaml", []byte(text))
}

func TestShippedRunbooksAreRight(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("the shipped runbooks: %v, %v", files, err)
	}
	library, problems := runbooks.LoadLibrary(files...)
	if err := problems.Err(); err != nil {
		t.Error(err)
	}
	for _, service := range []string{"fun-asr", "sambert-hifigan", "demo"} {
		if _, ok := library.Lookup(service); !ok {
			t.Errorf("no runbook of %s is shipped", service)
		}
	}
}

func TestDefaults(t *testing.T) {
	r, problems := parse(t, minimal)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	for what, pair := range map[string][2]any{
		"health path":    {r.Health.Path, "/health"},
		"health timeout": {r.Health.Timeout.D(), 400 * time.Millisecond},
		"within":         {r.Tiers[0].Within.D(), 5 * time.Second},
		"cooldown":       {r.Policy.Cooldown.D(), 10 * time.Minute},
		"confirm":        {r.Policy.Confirm.D(), 5 * time.Minute},
		"reconcile":      {r.Traffic.Reconcile.D(), 5 * time.Second},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %v, want %v", what, pair[0], pair[1])
		}
	}
}

// Ten mistakes, each named with its line and its remedy, in one go.
func TestEveryMistakeIsNamedAtOnce(t *testing.T) {
	text := `apiVersion: understudy/v2
service: Fun ASR
match: [{}]
primary: {url: "10.0.0.1:7860", server: "a;b"}
health: {timout: 400ms, path: health}
canary: {transcribe: {audio: a.wav, expect: one, max_wer: 2}, timeout: 20}
traffic: {kind: haproxy, backend: asr, front: "http://127.0.0.1:3", zone: Z1}
tiers:
  - {name: hot, server: hot, url: "http://127.0.0.1:2"}
  - {name: hot, server: hot, url: "http://127.0.0.1:2"}
policy: {limits: {machines: "two"}}
`
	_, problems := parse(t, text)
	got := problems.Error()
	for _, want := range []string{
		`r.yaml:1:13: apiVersion: "understudy/v2" is not known; allowed: understudy/v1`,
		`r.yaml:2:1: service: "Fun ASR" is no service name; use lower-case`,
		`r.yaml:3:9: match[0]: an entry without labels would match every alert`,
		`r.yaml:4:11: primary.url: "10.0.0.1:7860" is no usable URL; it begins with http://`,
		`r.yaml:4:33: primary.server: "a;b" is no name at a load balancer`,
		`r.yaml:5:10: health.timout: unknown key, perhaps you mean timeout; allowed here: kind, path, timeout, busy, ready`,
		`r.yaml:5:25: health.path: "health" is no path; it begins with a slash`,
		`r.yaml:6:50: canary.transcribe.max_wer: 2 is out of range`,
		`r.yaml:6:72: canary.timeout: "20" is not a duration: write a number with a unit`,
		`r.yaml:7:1: traffic.sockets: the key is missing; kind haproxy needs it`,
		`traffic.zone: kind haproxy has no such key; it belongs to kind route53`,
		`r.yaml:10:6: tiers[1].name: tier "hot" is there twice`,
		`tiers[1].server: "hot" is already the server of tier hot`,
		`r.yaml:11:29: policy.limits.machines: the text "two" stands where a whole number`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("not told: %s\n\nall that was told:\n%s", want, got)
		}
	}
	shape := regexp.MustCompile(`^r\.yaml:\d+:\d+: `)
	for line := range strings.Lines(got) {
		if !shape.MatchString(line) {
			t.Errorf("without its place: %s", line)
		}
	}
}

func TestMistakes(t *testing.T) {
	replace := func(old, new string) string {
		changed := strings.Replace(minimal, old, new, 1)
		if changed == minimal {
			panic("nothing to replace: " + old)
		}
		return changed
	}
	machine := func(key string) string {
		return replace("{name: hot", "{name: cold, provision: {kind: local, command: [x], "+key+"}")
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":                            {"", "the file is empty"},
		"not yaml":                         {"a: [", "not YAML"},
		"a list":                           {"- a\n", "a list stands where a mapping with keys"},
		"two documents":                    {minimal + "---\n" + minimal, "a second YAML document"},
		"an alias":                         {replace("server: primary", "server: &a primary"), "anchors, aliases and tags are not understood"},
		"a key twice":                      {minimal + "service: asr\n", "the key is there twice"},
		"a null":                           {replace("service: asr\n", "service:\n"), "the value is missing"},
		"a number for text":                {replace("server: primary", "server: 1"), `put it in quotes: "1"`},
		"no tiers":                         {minimal[:strings.Index(minimal, "  - {name")] + "  []\n", "the list is empty; without a standby"},
		"unknown tier":                     {replace("name: hot", "name: lukewarm"), `"lukewarm" is not known; allowed: hot, warm, cold, cross-region`},
		"machine for hot":                  {replace("server: hot", `server: hot, provision: {kind: local, command: [x]}`), "a hot standby runs already"},
		"no machine for cold":              {replace("name: hot", "name: cold"), "a cold standby must be made"},
		"warm without activate":            {replace("name: hot", "name: warm"), "a warm standby rests"},
		"cross-region alone":               {replace("{name: hot", "{name: cross-region, provision: {kind: local, command: [x]}"), "two sites cannot decide alone"},
		"secret in the clear":              {replace("server: primary", "server: primary, fence: [{kind: http, url: 'http://x/', headers: {Authorization: abc}}]"), "never the secret itself"},
		"secret from two places":           {replace("server: primary", "server: primary, fence: [{kind: http, url: 'http://x/', headers: {Authorization: {file: a, env: B}}}]"), "a secret is read from one place"},
		"password in a URL":                {replace("http://127.0.0.1:1", "http://me:secret@127.0.0.1:1"), "a runbook is no place for secrets"},
		"required, unconfirmed":            {replace("server: primary", "server: primary, fence: [{kind: command, command: [x], required: true}]"), "a required fence is confirmed from outside"},
		"slow probes":                      {minimal + "health: {timeout: 2s}\nheartbeat: {interval: 500ms}\n", "slower than this heartbeat"},
		"bad expression":                   {minimal + "health: {ready: 'x +'}\n", "not an expression"},
		"two canaries":                     {minimal + "canary: {transcribe: {audio: a, expect: b}, synthesize: {path: /s, json: {}}}\n", "a canary is one of the two"},
		"neither key nor prefix":           {minimal + "settings: [{kind: etcd, endpoint: 'http://x:1'}]\n", "write key or prefix"},
		"bad schedule":                     {minimal + "drill: {schedule: soon, timezone: Mars/Olympus, tiers: [cold]}\n", "is no schedule"},
		"negative duration":                {minimal + "policy: {cooldown: -1s}\n", "is negative"},
		"key of another kind":              {replace("backend: asr", "backend: asr, file: /x"), "it belongs to kind nginx"},
		"binary":                           {"\x00\x01\x02", "r.yaml:1:1"},
		"option for a host":                {machine("host: -oProxyCommand=x"), "is no host that ssh could reach"},
		"two hosts":                        {machine(`host: "a b"`), "is no host that ssh could reach"},
		"no port":                          {machine("ports: [7860, 70000]"), "ports[1]: 70000 is no port"},
		"variable with a dash":             {machine("env: {A-B: c}"), `"A-B" is no name of a variable`},
		"wrong kind":                       {replace("kind: haproxy", "kind: f5"), `"f5" is not known; allowed: haproxy, nginx, route53, command`},
		"approval of what moves by itself": {replace("server: hot}", "server: hot, approval: {roles: [approver]}}"), "hold: true"},
		"unconfirmed game day":             {minimal + "game_day: {stop: {kind: command, command: [stop]}, start: {kind: command, command: [start]}}\n", "game_day.stop.confirm: the key is missing"},
		"a start that is a fence":          {minimal + "game_day: {stop: {kind: command, command: [stop], confirm: {kind: tcp-closed}}, start: {kind: http, url: \"ftp://x\", confirm: {kind: tcp-closed}}}\n", "game_day.start.confirm: a start is confirmed by"},
		"heartbeat without needs":          {minimal + "heartbeat: {failures: 3}\n", "heartbeat.interval: the key is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := parse(t, c.text)
			if c.want != "" && !strings.Contains(problems.Error(), c.want) {
				t.Errorf("want %q, got:\n%s", c.want, problems.Error())
			}
		})
	}
}

func TestLibraryFindsTheServiceOfAnAlert(t *testing.T) {
	one, _ := parse(t, minimal)
	two, _ := parse(t, strings.NewReplacer("service: asr\n", "service: tts\n", "service: asr}", "service: tts}").Replace(minimal))
	library := runbooks.NewLibrary(one, two)
	for _, c := range []struct {
		labels map[string]string
		want   string
	}{
		{map[string]string{"alertname": "Down", "service": "asr", "node": "a"}, "asr"},
		{map[string]string{"alertname": "Down", "service": "tts"}, "tts"},
		{map[string]string{"alertname": "Down"}, ""},
		{map[string]string{"alertname": "Up", "service": "asr"}, ""},
		{nil, ""},
	} {
		if got, _ := library.Match(c.labels); got != c.want {
			t.Errorf("%v: got %q, want %q", c.labels, got, c.want)
		}
	}
}

func TestRunbooksThatContradictEachOther(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("a.yaml", minimal)
	write("b.yaml", minimal)
	write("c.yml", strings.Replace(minimal, "service: asr\n", "service: other\n", 1))
	write("ignored.txt", "no runbook")
	_, problems := runbooks.LoadLibrary(dir)
	got := problems.Error()
	for _, want := range []string{"b.yaml:2:1: service: service \"asr\" already has a runbook: ", "c.yml:3:10: match[0]: one alert can match this entry and that of service asr"} {
		if !strings.Contains(got, want) {
			t.Errorf("not told: %s\n%s", want, got)
		}
	}
	if _, problems := runbooks.LoadLibrary(filepath.Join(dir, "none.yaml")); problems.Err() == nil {
		t.Error("a file that is not there was accepted")
	}
}

func TestSiteFile(t *testing.T) {
	site, problems := runbooks.ParseSite("/etc/understudy.yaml", []byte("apiVersion: understudy/v1\nrunbooks: [books]\nlisten: {api: 127.0.0.1:1}\n"))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	if site.Runbooks[0] != "/etc/books" || site.Listen.Temporal != "127.0.0.1:7233" || site.Links.Console != "http://127.0.0.1:1" {
		t.Errorf("got %+v", site)
	}
	_, problems = runbooks.ParseSite("s.yaml", []byte(`apiVersion: understudy/v1
listen: {api: "8400", temporal: "localhost:1", ui: "127.0.0.1:2"}
s3: {west: {endpoint: "minio:9000"}}
epochs: {kind: s3}
users: [{name: a, role: admin}, {name: a, role: viewer}]
chat: {slack: {token: xoxb-1}}
`))
	for _, want := range []string{
		"listen.api: \"8400\" is no address", "listen.temporal: \"localhost\" is no IP address", "s3.west.endpoint: \"minio:9000\" is no usable URL",
		"s3.west.buckets: the key is missing", "epochs.url: the key is missing; kind s3 needs it", "users[0].role: \"admin\" is not known",
		"users[1].name: user \"a\" is there twice", "chat.slack.token: a value stands where a reference to a secret",
	} {
		if !strings.Contains(problems.Error(), want) {
			t.Errorf("not told: %s\n%s", want, problems.Error())
		}
	}
	if strings.Contains(problems.Error(), "xoxb-1") {
		t.Errorf("the secret itself is told:\n%s", problems.Error())
	}
}

// Every key of the format is in the schema with a description, and the shipped
// runbooks use no other.
func TestSchemaDescribesEveryKey(t *testing.T) {
	for _, site := range []bool{false, true} {
		text, err := runbooks.Schema(site)
		if err != nil {
			t.Fatal(err)
		}
		var schema struct {
			Defs map[string]struct {
				Properties map[string]struct{ Description string } `json:"properties"`
			} `json:"$defs"`
		}
		if err := json.Unmarshal(text, &schema); err != nil {
			t.Fatal(err)
		}
		if len(schema.Defs) < 5 {
			t.Errorf("the schema has %d types", len(schema.Defs))
		}
		for name, def := range schema.Defs {
			for key, property := range def.Properties {
				if property.Description == "" {
					t.Errorf("%s.%s has no description", name, key)
				}
			}
		}
	}
}

func TestSnapshotsStaySmall(t *testing.T) {
	labels := strings.Repeat("  - {alertname: Down, service: asr, x: \""+strings.Repeat("y", 500)+"\"}\n", 200)
	_, problems := parse(t, strings.Replace(minimal, "match: [{alertname: Down, service: asr}]\n", "match:\n"+labels, 1))
	if !strings.Contains(problems.Error(), "at most 65536 travel with a recovery") {
		t.Errorf("got %s", problems.Error())
	}
}

func FuzzParseRunbook(f *testing.F) {
	f.Add([]byte(minimal))
	for _, file := range []string{"fun-asr.yaml", "sambert-hifigan.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("a: &x {b: *x}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, problems := runbooks.ParseRunbook("f.yaml", text)
		if problems.Err() != nil {
			for _, p := range problems {
				if p.Line < 1 || p.Column < 1 || p.Text == "" {
					t.Errorf("a problem without place or text: %+v", p)
				}
			}
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatalf("a runbook that cannot be written: %v", err)
		}
		var back runbooks.Runbook
		if err := json.Unmarshal(again, &back); err != nil || back.Hash() != r.Hash() {
			t.Errorf("a snapshot differs from its runbook: %v", err)
		}
	})
}
