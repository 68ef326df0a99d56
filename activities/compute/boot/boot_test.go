package boot_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/compute/boot"
	"github.com/understudy-dr/understudy/runbooks"
)

// hostile is printable text in which every reader on the way finds something of its own.
const hostile = `a 'b' "c" $(reboot) ${D} %n %h ` + "`id`" + ` \ \n ; | & # {e: [f]} - : ? ! @ * > ~ 语音 é`

// machine is one with everything.
func machine() boot.Machine {
	return boot.Machine{
		Order: compute.Order{
			Key: "k", Service: "fun-asr", Epoch: 7, Mode: "live",
			Provision: runbooks.Provision{
				Kind: "ec2", Command: []string{"/app/start app.sh", "--words", hostile, ""}, Dir: "/app/with space", User: "asr", Env: map[string]string{"HF_HUB_OFFLINE": "1", "WORDS": hostile},
			},
		},
		Volumes: []boot.Volume{
			{Volume: runbooks.Volume{Source: "s3://models-west/Fun ASR/2512", Mount: "/models/asr/", Manifest: "MANIFEST.sha256", Verify: "full", Mode: "mount"}},
			{
				Volume: runbooks.Volume{Source: "s3://vad", Mount: "/models/vad", Verify: "size", Writable: true},
				Store:  boot.Store{Endpoint: "http://10.0.0.5:9000/", Region: "eu-north-1", PathStyle: true, Login: boot.Anonymous},
			},
		},
		Data: []boot.Data{{
			Data: runbooks.Data{Kind: "litestream", Path: "/app/data/history.db", Check: "select '" + hostile + "'\n\tfrom history"},
			From: "s3://history-west/fun-asr/epoch-6", To: "s3://history-west/fun-asr/epoch-7",
		}},
		Settings: map[string]string{"hotwords": "语音 10\n识别 20\n", "odd": "\x00\x7f\u0085\u2028\ufeff\U000e0001 " + hostile},
		Env:      map[string]string{"EXTRA": "1"},
	}
}

// config is a document as cloud-init reads it.
type config struct {
	Files []struct{ Path, Permissions, Content string } `yaml:"write_files"`
	Run   [][]string                                    `yaml:"runcmd"`
	Final string                                        `yaml:"final_message"`
}

func render(t *testing.T, m boot.Machine) (string, config) {
	t.Helper()
	text, err := boot.Render(m)
	if err != nil {
		t.Fatal(err)
	}
	var c config
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return text, c
}

func (c config) file(path string) string {
	for _, f := range c.Files {
		if f.Path == path {
			return f.Content
		}
	}
	return ""
}

func TestDocument(t *testing.T) {
	text, c := render(t, machine())
	// EC2 takes 16 KiB, packed where need be.
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write([]byte(text)); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(text, "#cloud-config\n") || packed.Len() > 16<<10 {
		t.Errorf("a document of %d bytes, %d when packed, begins with %.30q", len(text), packed.Len(), text)
	}
	want := "models-west\tFun ASR/2512\t/models/asr\tMANIFEST.sha256\tfull\tmount\tno\t-\tus-east-1\thost\trole\n" +
		"vad\t-\t/models/vad\tMANIFEST.sha256\tsize\tcopy\tyes\thttp://10.0.0.5:9000\teu-north-1\tpath\tanonymous\n"
	if got := c.file("/etc/understudy/volumes"); got != want {
		t.Errorf("volumes: %q\nwant:    %q", got, want)
	}
	script, err := os.ReadFile("boot.sh")
	if err != nil || c.file("/usr/local/lib/understudy/boot") != string(script) {
		t.Errorf("the script is not the script: %v", err)
	}
	var settings map[string]string
	if err := json.Unmarshal([]byte(c.file("/etc/understudy/settings.json")), &settings); err != nil || settings["odd"] != machine().Settings["odd"] || settings["hotwords"] != machine().Settings["hotwords"] {
		t.Errorf("the settings come out as %q, %v", settings, err)
	}
	var runs []string
	for _, words := range c.Run {
		runs = append(runs, strings.Join(words, " "))
	}
	wantRuns := []string{
		"chown -- asr /etc/understudy/settings.json", "systemctl daemon-reload",
		"systemctl enable understudy-boot.service understudy-service.service understudy-hash.service",
		"systemctl start --no-block understudy-service.service", "systemctl start --no-block understudy-hash.service",
	}
	if !slices.Equal(runs, wantRuns) {
		t.Errorf("it runs %q", runs)
	}
	for _, f := range c.Files {
		if private := strings.Contains(f.Path, "settings") || strings.Contains(f.Path, "service.env"); private != (f.Permissions == "0600") {
			t.Errorf("%s has permissions %s", f.Path, f.Permissions)
		}
	}
	unit := c.file("/etc/systemd/system/understudy-service.service")
	for _, line := range []string{"Requires=understudy-boot.service", "After=understudy-boot.service", "User=asr", "WorkingDirectory=/app/with space", "EnvironmentFile=/etc/understudy/service.env"} {
		if !strings.Contains(unit, line+"\n") {
			t.Errorf("the unit lacks %s:\n%s", line, unit)
		}
	}
}

func TestUnitOfTheImage(t *testing.T) {
	m := machine()
	m.Order.Provision.Command, m.Order.Provision.Unit, m.Order.Provision.User = nil, "fun-asr.service", ""
	_, c := render(t, m)
	drop := c.file("/etc/systemd/system/fun-asr.service.d/50-understudy.conf")
	if !strings.Contains(drop, "Requires=understudy-boot.service\n") || !strings.Contains(drop, "EnvironmentFile=/etc/understudy/service.env\n") {
		t.Errorf("the drop-in is %q", drop)
	}
	if last := c.Run[len(c.Run)-2]; strings.Join(last, " ") != "systemctl start --no-block fun-asr.service" {
		t.Errorf("it runs %v", c.Run)
	}
}

func TestAnImageThatStartsByItself(t *testing.T) {
	m := machine()
	m.Order.Provision = runbooks.Provision{Kind: "ec2"}
	m.Volumes = m.Volumes[:1]
	_, c := render(t, m)
	if len(c.Run) != 3 || strings.Join(c.Run[2], " ") != "systemctl start --no-block understudy-boot.service" {
		t.Errorf("it runs %v", c.Run)
	}
	_, c = render(t, boot.Machine{Order: compute.Order{Service: "asr"}})
	if len(c.Run) != 0 || c.file("/etc/understudy/service.env") == "" {
		t.Errorf("with nothing to do it is %+v", c)
	}
}

func TestRefused(t *testing.T) {
	for what, change := range map[string]func(*boot.Machine){
		"a line break in the environment": func(m *boot.Machine) { m.Env["A"] = "a\nExecStart=/bin/sh" },
		"an odd variable":                 func(m *boot.Machine) { m.Env["A B"] = "c" },
		"a line break in the command":     func(m *boot.Machine) { m.Order.Provision.Command = []string{"/app", "a\nb"} },
		"a relative command":              func(m *boot.Machine) { m.Order.Provision.Command = []string{"app"} },
		"a line break in the directory":   func(m *boot.Machine) { m.Order.Provision.Dir = "/a\nUser=root" },
		"an odd user":                     func(m *boot.Machine) { m.Order.Provision.User = "asr\nx" },
		"an odd unit":                     func(m *boot.Machine) { m.Order.Provision.Command, m.Order.Provision.Unit = nil, "../x.service" },
		"a source that is no S3":          func(m *boot.Machine) { m.Volumes[0].Source = "http://x/y" },
		"a tab in the source":             func(m *boot.Machine) { m.Volumes[0].Source = "s3://bucket/a\tb" },
		"a comma for s3fs":                func(m *boot.Machine) { m.Volumes[0].Mount = "/models,uid=0" },
		"a relative mount":                func(m *boot.Machine) { m.Volumes[0].Mount = "models" },
		"the root":                        func(m *boot.Machine) { m.Volumes[1].Mount = "//" },
		"a way out":                       func(m *boot.Machine) { m.Volumes[1].Mount = "/models/../etc" },
		"a manifest elsewhere":            func(m *boot.Machine) { m.Volumes[0].Manifest = "../M" },
		"an odd login":                    func(m *boot.Machine) { m.Volumes[0].Store.Login = "AKIA..." },
	} {
		m := machine()
		change(&m)
		if text, err := boot.Render(m); !errors.Is(err, compute.ErrRefused) {
			t.Errorf("%s: %v\n%s", what, err, text)
		}
	}
}

// Cloud-init itself, which reads YAML with another library than ours, takes the
// document, and finds in it what was meant.
func TestCloudInitTakesIt(t *testing.T) {
	program, err := exec.LookPath("cloud-init")
	if err != nil {
		t.Skip("missing: cloud-init; apt-get install cloud-init")
	}
	text, c := render(t, machine())
	file := filepath.Join(t.TempDir(), "user-data")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "schema", "--config-file", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Valid") {
		t.Fatalf("%v\n%s\n%s", err, out, text)
	}
	// Debian's cloud-init runs on Debian's own Python, which has its YAML library.
	read := exec.Command("/usr/bin/python3", "-c", "import json,sys,yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)", file)
	out, err = read.Output()
	if err != nil {
		t.Fatal(err)
	}
	var seen struct {
		Files []struct{ Path, Content string } `json:"write_files"`
		Run   [][]string                       `json:"runcmd"`
	}
	if err := json.Unmarshal(out, &seen); err != nil || len(seen.Files) != len(c.Files) {
		t.Fatalf("%v\n%s", err, out)
	}
	for n, f := range c.Files {
		if seen.Files[n].Path != f.Path || seen.Files[n].Content != f.Content {
			t.Errorf("%s reads differently:\n%q\n%q", f.Path, f.Content, seen.Files[n].Content)
		}
	}
	if !slices.EqualFunc(seen.Run, c.Run, slices.Equal) {
		t.Errorf("the commands read differently: %v", seen.Run)
	}
}

// Systemd reads the units without a complaint, and the command word by word.
func TestSystemdTakesTheUnits(t *testing.T) {
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("missing: systemd-analyze; apt-get install systemd")
	}
	root := t.TempDir()
	m := machine()
	m.Order.Provision.Command[0] = "/bin/true"
	m.Order.Provision.User, m.Order.Provision.Dir = "root", "/"
	_, c := render(t, m)
	var units []string
	for _, f := range c.Files {
		if !strings.HasPrefix(f.Path, "/etc/systemd/system/") {
			continue
		}
		file := filepath.Join(root, filepath.Base(f.Path))
		content := strings.ReplaceAll(f.Content, "/usr/local/lib/understudy/boot", "/bin/true")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		units = append(units, file)
	}
	if len(units) != 3 {
		t.Fatalf("units: %v", units)
	}
	out, err := exec.Command(program, append([]string{"verify", "--man=no", "--recursive-errors=no"}, units...)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), root) {
		t.Errorf("%v\n%s", err, out)
	}
}
