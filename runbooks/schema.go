package runbooks

import (
	"embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"
)

// sources carries the doc comments of the types into the program: the schema's
// descriptions are those comments, so there is one text to keep true.
//
//go:embed runbook.go checks.go tier.go traffic.go site.go values.go
var sources embed.FS

// Schema returns the JSON Schema (draft 2020-12) of the runbook, or of the site
// file where site is true. Editors use it to complete and check while one types.
func Schema(site bool) ([]byte, error) {
	comments, err := docComments()
	if err != nil {
		return nil, err
	}
	reflector := &jsonschema.Reflector{
		RequiredFromJSONSchemaTags: true,
		CommentMap:                 comments,
		Mapper:                     durationSchema,
	}
	var root any = &Runbook{}
	if site {
		root = &Site{}
	}
	schema := reflector.Reflect(root)
	schema.ID = "https://understudy-dr.github.io/schema/v1/runbook.json"
	schema.Title = "Understudy runbook"
	if site {
		schema.ID, schema.Title = "https://understudy-dr.github.io/schema/v1/site.json", "Understudy site file"
	}
	return json.MarshalIndent(schema, "", "  ")
}

func durationSchema(of reflect.Type) *jsonschema.Schema {
	if of != reflect.TypeFor[Duration]() {
		return nil
	}
	return &jsonschema.Schema{
		Type:     "string",
		Pattern:  `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|^0$`,
		Examples: []any{"400ms", "2s", "1h30m"},
	}
}

// docComments reads the comments of all types and fields, under the names that
// the reflector looks for: importpath.Type and importpath.Type.Field.
func docComments() (map[string]string, error) {
	pkg := reflect.TypeFor[Runbook]().PkgPath()
	comments := map[string]string{}
	files, err := sources.ReadDir(".")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := sources.ReadFile(file.Name())
		if err != nil {
			return nil, err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file.Name(), text, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("read doc comments: %w", err)
		}
		for _, decl := range parsed.Decls {
			general, ok := decl.(*ast.GenDecl)
			if !ok || general.Tok != token.TYPE {
				continue
			}
			for _, spec := range general.Specs {
				commentType(comments, pkg, general, spec.(*ast.TypeSpec))
			}
		}
	}
	return comments, nil
}

func commentType(comments map[string]string, pkg string, general *ast.GenDecl, spec *ast.TypeSpec) {
	name := pkg + "." + spec.Name.Name
	comments[name] = oneLine(general.Doc.Text())
	if fields, ok := spec.Type.(*ast.StructType); ok {
		for _, f := range fields.Fields.List {
			comments[name+"."+f.Names[0].Name] = oneLine(f.Doc.Text())
		}
	}
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
