package runbooks

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxFile bounds a file before it is parsed; a real runbook has a few KiB.
const maxFile = 1 << 20

// position is where a value stands in its file; both count from 1.
type position struct{ line, column int }

// decoder fills Go values from YAML strictly, and goes on after a mistake, so
// that one run names them all.
type decoder struct {
	file      string
	problems  Problems
	positions map[string]position
}

// decode reads one YAML document into target, a pointer to a struct.
func decode(file string, text []byte, target any) *decoder {
	d := &decoder{file: file, positions: map[string]position{}}
	if len(text) > maxFile {
		d.at(position{1, 1}, "", "the file has %d bytes; at most %d are read", len(text), maxFile)
		return d
	}
	parsed, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.syntax(err)
		return d
	}
	docs := slices.DeleteFunc(slices.Clone(parsed.Docs), func(doc *ast.DocumentNode) bool { return doc.Body == nil })
	switch len(docs) {
	case 0:
		d.at(position{1, 1}, "", "the file is empty; it must begin with apiVersion: %s", APIVersion)
	case 1:
		d.value("", docs[0].Body, reflect.ValueOf(target).Elem())
	default:
		d.at(where(docs[1].Body), "", "a second YAML document begins here; write one document in a file")
	}
	return d
}

// pos is the place of a key, or of the nearest one above it that is written down.
func (d *decoder) pos(path string) position {
	for {
		if p, ok := d.positions[path]; ok {
			return p
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return position{1, 1}
		}
		path = path[:cut]
	}
}

func (d *decoder) at(p position, path, format string, args ...any) {
	d.problems = append(d.problems, Problem{File: d.file, Line: p.line, Column: p.column, Key: path, Text: fmt.Sprintf(format, args...)})
}

// wrong adds a problem at the place of a key.
func (d *decoder) wrong(path, format string, args ...any) { d.at(d.pos(path), path, format, args...) }

func (d *decoder) syntax(err error) {
	var syntax yaml.Error
	if errors.As(err, &syntax) && syntax.GetToken() != nil {
		at := syntax.GetToken().Position
		d.at(position{at.Line, at.Column}, "", "not YAML: %s", syntax.GetMessage())
		return
	}
	d.at(position{1, 1}, "", "not YAML: %v", err)
}

// value decodes one node into one Go value.
func (d *decoder) value(path string, node ast.Node, into reflect.Value) {
	d.positions[path] = cmpPosition(d.positions[path], where(node))
	switch node.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		d.at(where(node), path, "anchors, aliases and tags are not understood here; write the value out")
		return
	case *ast.NullNode:
		d.at(where(node), path, "the value is missing; write one or leave the key out")
		return
	}
	if into.Kind() == reflect.Pointer {
		fresh := reflect.New(into.Type().Elem())
		d.value(path, node, fresh.Elem())
		into.Set(fresh)
		return
	}
	if text, ok := into.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(path, node, text)
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		d.object(path, node, into)
	case reflect.Map:
		d.dictionary(path, node, into)
	case reflect.Slice:
		d.list(path, node, into)
	case reflect.Interface:
		d.free(path, node, into)
	default:
		d.scalar(path, node, into)
	}
}

func (d *decoder) text(path string, node ast.Node, into encoding.TextUnmarshaler) {
	scalar, ok := node.(ast.ScalarNode)
	if !ok {
		d.at(where(node), path, "%s stands where a duration belongs: write a number with a unit, such as 400ms", describe(node))
		return
	}
	if err := into.UnmarshalText([]byte(scalar.GetToken().Value)); err != nil {
		d.at(where(node), path, "%v", err)
	}
}

func (d *decoder) object(path string, node ast.Node, into reflect.Value) {
	entries, ok := mapping(node)
	if !ok {
		what := describe(node)
		if into.Type() == reflect.TypeFor[Secret]() {
			what = "a value" // it may be the secret itself, and mistakes are printed where logs are kept
		}
		d.at(where(node), path, "%s stands where %s belongs", what, keysOf(into.Type()))
		return
	}
	seen := map[string]bool{}
	for _, entry := range entries {
		key := entry.Key.GetToken().Value
		below := join(path, key)
		field, ok := fieldNamed(into, key)
		switch {
		case !ok:
			d.at(where(entry.Key), below, "unknown key%s; allowed here: %s", nearest(key, into.Type()), strings.Join(names(into.Type()), ", "))
		case seen[key]:
			d.at(where(entry.Key), below, "the key is there twice; keep one")
		default:
			seen[key] = true
			d.positions[below] = where(entry.Key)
			before := len(d.problems)
			d.value(below, entry.Value, field.value)
			if len(field.allowed) > 0 && len(d.problems) == before && !slices.Contains(field.allowed, field.value.String()) {
				d.at(where(entry.Value), below, "%q is not known; allowed: %s", field.value.String(), strings.Join(field.allowed, ", "))
			}
		}
	}
	d.complete(path, into, seen)
}

// complete names the keys that are missing, and those that belong to another kind.
func (d *decoder) complete(path string, into reflect.Value, seen map[string]bool) {
	kind := ""
	if f, ok := fieldNamed(into, "kind"); ok {
		kind = f.value.String()
	}
	for _, name := range names(into.Type()) {
		f, _ := fieldNamed(into, name)
		needed, goes := f.kinds[kind]
		switch {
		case f.required && !seen[name]:
			d.at(d.pos(path), join(path, name), "the key is missing; it is required%s", oneOf(f.allowed))
		case len(f.kinds) == 0 || kind == "":
		case needed && !seen[name]:
			d.at(d.pos(path), join(path, name), "the key is missing; kind %s needs it", kind)
		case !goes && seen[name]:
			d.at(d.pos(join(path, name)), join(path, name), "kind %s has no such key; it belongs to kind %s", kind, strings.Join(slices.Sorted(maps.Keys(f.kinds)), ", "))
		}
	}
	if secret, ok := into.Addr().Interface().(*Secret); ok && (secret.File == "") == (secret.Env == "") {
		d.at(d.pos(path), path, "a secret is read from one place: write {file: /path} or {env: NAME}")
	}
}

func (d *decoder) dictionary(path string, node ast.Node, into reflect.Value) {
	entries, ok := mapping(node)
	if !ok {
		d.at(where(node), path, "%s stands where keys with values belong", describe(node))
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	for _, entry := range entries {
		key := entry.Key.GetToken().Value
		below := join(path, key)
		if into.MapIndex(reflect.ValueOf(key)).IsValid() {
			d.at(where(entry.Key), below, "the key is there twice; keep one")
			continue
		}
		value := reflect.New(into.Type().Elem()).Elem()
		d.positions[below] = where(entry.Key)
		d.value(below, entry.Value, value)
		into.SetMapIndex(reflect.ValueOf(key), value)
	}
}

func (d *decoder) list(path string, node ast.Node, into reflect.Value) {
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		d.at(where(node), path, "%s stands where a list belongs; write [a, b], or a line for each with a dash", describe(node))
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(sequence.Values), len(sequence.Values)))
	for i, item := range sequence.Values {
		d.value(fmt.Sprintf("%s[%d]", path, i), item, into.Index(i))
	}
}

// free reads a value of any shape, for bodies that belong to the service.
func (d *decoder) free(path string, node ast.Node, into reflect.Value) {
	var value any
	if err := yaml.NodeToValue(node, &value); err != nil {
		d.at(where(node), path, "not a plain value: %v", err)
		return
	}
	if value != nil {
		into.Set(reflect.ValueOf(value))
	}
}

func (d *decoder) scalar(path string, node ast.Node, into reflect.Value) {
	wrong := func(want string) { d.at(where(node), path, "%s stands where %s belongs", describe(node), want) }
	switch into.Kind() {
	case reflect.String:
		switch n := node.(type) {
		case *ast.StringNode:
			into.SetString(n.Value)
		case *ast.LiteralNode:
			into.SetString(n.Value.Value)
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
			d.at(where(node), path, "%s stands where text belongs; put it in quotes: \"%s\"", describe(node), node.GetToken().Value)
		default:
			wrong("text")
		}
	case reflect.Bool:
		if n, ok := node.(*ast.BoolNode); ok {
			into.SetBool(n.Value)
		} else {
			wrong("true or false")
		}
	case reflect.Int:
		n, ok := node.(*ast.IntegerNode)
		if number, isUint := uint64(0), false; ok {
			if number, isUint = n.Value.(uint64); isUint && number <= math.MaxInt32 {
				into.SetInt(int64(number))
				return
			}
		}
		wrong("a whole number, zero or more,")
	case reflect.Float64:
		switch n := node.(type) {
		case *ast.FloatNode:
			into.SetFloat(n.Value)
		case *ast.IntegerNode:
			if number, ok := n.Value.(uint64); ok {
				into.SetFloat(float64(number))
				return
			}
			wrong("a number, zero or more,")
		default:
			wrong("a number")
		}
	default:
		panic("runbooks: no way to decode into " + into.Type().String())
	}
}

func mapping(node ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	default:
		return nil, false
	}
}

// where is the place of a node's first token. A mapping's own token is its
// first colon, so its first key speaks for it.
func where(node ast.Node) position {
	if entries, ok := mapping(node); ok && len(entries) > 0 {
		node = entries[0].Key
	}
	var at *token.Token
	if node != nil {
		at = node.GetToken()
	}
	if at == nil || at.Position == nil {
		return position{1, 1}
	}
	return position{at.Position.Line, at.Position.Column}
}

func cmpPosition(known, fresh position) position {
	if known != (position{}) {
		return known
	}
	return fresh
}

func describe(node ast.Node) string {
	switch n := node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.BoolNode:
		return "the boolean " + n.GetToken().Value
	case *ast.IntegerNode, *ast.FloatNode:
		return "the number " + node.GetToken().Value
	case *ast.StringNode:
		return fmt.Sprintf("the text %q", n.Value)
	default:
		return "a " + strings.ToLower(node.Type().String())
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func oneOf(allowed []string) string {
	if len(allowed) == 0 {
		return ""
	}
	return ", one of: " + strings.Join(allowed, ", ")
}
