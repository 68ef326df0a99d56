package runbooks

import (
	"reflect"
	"strings"
)

// field is what the struct tags say about one key.
type field struct {
	value    reflect.Value
	required bool
	allowed  []string
	// kinds are the values of the struct's key kind with which this key goes;
	// true marks those that need it.
	kinds map[string]bool
}

// fieldNamed finds the field of a struct by its key.
func fieldNamed(in reflect.Value, key string) (field, bool) {
	for i := range in.NumField() {
		tag := in.Type().Field(i).Tag
		if keyOf(tag) != key {
			continue
		}
		f := field{value: in.Field(i), kinds: kindsOf(tag)}
		for _, rule := range strings.Split(tag.Get("jsonschema"), ",") {
			if rule == "required" {
				f.required = true
			}
			if value, ok := strings.CutPrefix(rule, "enum="); ok {
				f.allowed = append(f.allowed, value)
			}
		}
		return f, true
	}
	return field{}, false
}

// names lists the keys of a struct in the order of its fields.
func names(of reflect.Type) []string {
	var keys []string
	for i := range of.NumField() {
		keys = append(keys, keyOf(of.Field(i).Tag))
	}
	return keys
}

// kindsOf reads the tag kind:"haproxy!,nginx": the kinds that a key belongs to,
// with an exclamation mark where they cannot do without.
func kindsOf(tag reflect.StructTag) map[string]bool {
	text, ok := tag.Lookup("kind")
	if !ok {
		return nil
	}
	kinds := map[string]bool{}
	for _, kind := range strings.Split(text, ",") {
		name, needed := strings.CutSuffix(kind, "!")
		kinds[name] = needed
	}
	return kinds
}

func keyOf(tag reflect.StructTag) string {
	key, _, _ := strings.Cut(tag.Get("json"), ",")
	return key
}

func keysOf(of reflect.Type) string {
	keys := names(of)
	if of == reflect.TypeFor[Secret]() {
		return "a reference to a secret, {file: /path} or {env: NAME}, never the secret itself,"
	}
	return "a mapping with keys such as " + strings.Join(keys[:min(3, len(keys))], ", ")
}

// nearest suggests the key that was probably meant.
func nearest(key string, of reflect.Type) string {
	best, distance := "", 3
	for _, name := range names(of) {
		if d := edits(strings.ToLower(key), name); d < distance {
			best, distance = name, d
		}
	}
	if best == "" {
		return ""
	}
	return ", perhaps you mean " + best
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			substitute := diagonal
			if a[i-1] != b[j-1] {
				substitute++
			}
			diagonal = row[j]
			row[j] = min(row[j]+1, row[j-1]+1, substitute)
		}
	}
	return row[len(b)]
}
