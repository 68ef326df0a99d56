package boot

import (
	"fmt"
	"strings"
)

// document collects what becomes a cloud-config. It is written by hand, since
// its readers are people as well: contents are block scalars, as they are.
type document struct {
	files strings.Builder
	runs  strings.Builder
}

// file adds a file. Its content consists of printable lines of which the first
// begins with no space, which a block scalar holds without any quoting.
func (d *document) file(path, permissions, content string) {
	fmt.Fprintf(&d.files, "  - path: %s\n    permissions: %q\n    content: |\n", quoteYAML(path), permissions)
	for line := range strings.Lines(content) {
		if line != "\n" {
			d.files.WriteString("      ")
		}
		d.files.WriteString(line)
	}
}

// run adds a command, as words that no shell reads.
func (d *document) run(words ...string) {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quoteYAML(w)
	}
	fmt.Fprintf(&d.runs, "  - [%s]\n", strings.Join(quoted, ", "))
}

func (d *document) String() string {
	text := "#cloud-config\n# Written by Understudy.\nwrite_files:\n" + d.files.String()
	if d.runs.Len() > 0 {
		text += "runcmd:\n" + d.runs.String()
	}
	return text + "final_message: \"understudy: step cloud-init done after $UPTIME s\"\n"
}

// quoteYAML quotes printable text as a single-quoted scalar, in which nothing
// but the quote itself means anything.
func quoteYAML(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
