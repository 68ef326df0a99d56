package runbooks

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
)

// Reference is the schema as a page for people, in Markdown: one table for each
// part, in the order in which they are met from the top.
func Reference(site bool) (string, error) {
	text, err := Schema(site)
	if err != nil {
		return "", err
	}
	var schema jsonschema.Schema
	if err := json.Unmarshal(text, &schema); err != nil {
		return "", fmt.Errorf("read the schema: %w", err)
	}
	var b strings.Builder
	title, source := "Runbook reference", "A runbook describes one service."
	if site {
		title, source = "Site file reference", "The site file holds what is the same for all services."
	}
	fmt.Fprintf(&b, "# %s\n\n%s Keys in **bold** are required. Durations are written as `400ms`, `2s`, `1h30m`.\n", title, source)
	fmt.Fprintf(&b, "This page is made from the types of the program; `understudy schema%s` prints the same as JSON Schema, for editors.\n", map[bool]string{true: " --site"}[site])
	root := name(schema.Ref)
	for queue, met := []string{root}, map[string]bool{root: true}; len(queue) > 0; queue = queue[1:] {
		part := schema.Definitions[queue[0]]
		for _, other := range table(&b, queue[0], part) {
			if !met[other] {
				met[other] = true
				queue = append(queue, other)
			}
		}
	}
	return b.String(), nil
}

// table writes one part, and returns the parts that it mentions.
func table(b *strings.Builder, of string, part *jsonschema.Schema) (mentions []string) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n| key | value | |\n| --- | --- | --- |\n", of, cell(part.Description))
	for pair := part.Properties.Oldest(); pair != nil; pair = pair.Next() {
		key := "`" + pair.Key + "`"
		if slices.Contains(part.Required, pair.Key) {
			key = "**" + key + "**"
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", key, value(pair.Value, &mentions), cell(pair.Value.Description))
	}
	return mentions
}

// value words what may stand behind a key.
func value(s *jsonschema.Schema, mentions *[]string) string {
	switch {
	case s.Ref != "":
		part := name(s.Ref)
		*mentions = append(*mentions, part)
		return fmt.Sprintf("[%s](#%s)", part, strings.ToLower(part))
	case len(s.Enum) > 0:
		var all []string
		for _, one := range s.Enum {
			all = append(all, fmt.Sprintf("`%v`", one))
		}
		return strings.Join(all, " ")
	case s.Type == "array":
		return "list of " + value(s.Items, mentions)
	case s.Type == "object" && s.AdditionalProperties != nil:
		return "names and " + value(s.AdditionalProperties, mentions)
	case s.Pattern != "":
		return "duration"
	case s.Type == "":
		return "any"
	default:
		return map[string]string{"string": "text", "integer": "number", "number": "number", "boolean": "`true` `false`"}[s.Type]
	}
}

func name(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

// cell keeps a text within its cell.
func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "{", "\\{", "<", "&lt;").Replace(text)
}
