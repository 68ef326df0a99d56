package boot

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/understudy-dr/understudy/activities/compute"
)

// The units. Their placeholders are filled with what cannot break out: paths of
// this package, names that were checked, commands that were quoted.
const (
	bootUnitText = `[Unit]
Description=Understudy: model volumes
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=%s up
ExecStop=%s down

[Install]
WantedBy=multi-user.target
`
	hashUnitText = `[Unit]
Description=Understudy: hashes of the model volumes
Requires=%s
After=%s

[Service]
Type=oneshot
Nice=10
ExecStart=%s hash

[Install]
WantedBy=multi-user.target
`
	dropInText = `[Unit]
%s
[Service]
EnvironmentFile=%s
ExecStartPost=+-%s say start done
`
)

var (
	envName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	userName = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	unitName = regexp.MustCompile(`^[A-Za-z0-9:_.@-]+\.service$`)
)

// commandText is the unit of a service that a command starts.
func commandText(o compute.Order, needs string) (string, error) {
	var command []string
	for i, word := range o.Provision.Command {
		if err := plain(fmt.Sprintf("provision.command[%d]", i), word); err != nil {
			return "", err
		}
		command = append(command, quoteUnit(word))
	}
	if first := o.Provision.Command[0]; !strings.HasPrefix(first, "/") || strings.Contains(first, "$") {
		return "", refused("provision.command[0]", "%q is not the absolute path of a program; a machine needs that", first)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "[Unit]\nDescription=Understudy: %s\nWants=network-online.target\nAfter=network-online.target\n%s\n", quoteLine(o.Service), needs)
	fmt.Fprintf(&b, "[Service]\nEnvironmentFile=%s\nExecStart=%s\nExecStartPost=+-%s say start done\nRestart=on-failure\nRestartSec=2\n", envPath, strings.Join(command, " "), scriptPath)
	for key, value := range map[string]string{"provision.user": o.Provision.User, "provision.dir": o.Provision.Dir} {
		if err := plain(key, value); err != nil {
			return "", err
		}
	}
	if o.Provision.User != "" {
		fmt.Fprintf(&b, "User=%s\n", quoteLine(o.Provision.User))
	}
	if o.Provision.Dir != "" {
		fmt.Fprintf(&b, "WorkingDirectory=%s\n", quoteLine(o.Provision.Dir))
	}
	b.WriteString("\n[Install]\nWantedBy=multi-user.target\n")
	return b.String(), nil
}

// plain refuses what no line of a configuration file can hold.
func plain(key, text string) error {
	if strings.ContainsFunc(text, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }) {
		return refused(key, "%q has a character that is not printable", text)
	}
	return nil
}

// quoteUnit quotes a word of a command line in a unit: systemd replaces what
// begins with % or $, and reads quotes and backslashes.
func quoteUnit(word string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`, `$`, `$$`).Replace(word) + `"`
}

// quoteLine is for values that take the rest of a line: only % means something there.
func quoteLine(text string) string { return strings.ReplaceAll(text, "%", "%%") }

// quoteEnv quotes a value in an environment file of systemd, in which nothing is
// replaced but what a backslash protects.
func quoteEnv(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "`", "\\`", `$`, `\$`).Replace(value) + `"`
}

// settingsText is JSON in which every character is one that YAML takes as well.
func settingsText(settings map[string]string) (string, error) {
	var raw strings.Builder
	encoder := json.NewEncoder(&raw)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(settings); err != nil {
		return "", err
	}
	var b strings.Builder
	for _, r := range raw.String() {
		if r == '\n' || r == ' ' || unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		if r > 0xffff {
			r1, r2 := 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff
			fmt.Fprintf(&b, `\u%04x\u%04x`, r1, r2)
			continue
		}
		fmt.Fprintf(&b, `\u%04x`, r)
	}
	return b.String(), nil
}
