package httpprobe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"

	"github.com/understudy-dr/understudy/activities/probe"
)

const (
	// maxExpressions bounds the cache; a site has one expression a service.
	maxExpressions = 1000
	// maxNodes bounds one expression; real ones have ten.
	maxNodes = 1000
	// deadlineName hands the look's context to an expression. The sign is not allowed in a runbook's names.
	deadlineName = "understudy·context"
	inTimeName   = "understudy·in_time"
)

// errOverTime ends an expression whose look is over.
var errOverTime = errors.New("it takes too long on this answer")

// expression is a compiled ready expression. The nil expression always holds.
type expression struct {
	text    string
	program *vm.Program
}

// expressions keeps what was compiled, by its text.
type expressions struct {
	mu   sync.Mutex
	seen map[string]*expression
}

func (e *expressions) compiled(text string) (*expression, error) {
	if text == "" {
		return nil, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if known, ok := e.seen[text]; ok {
		return known, nil
	}
	program, err := expr.Compile(text, expr.AsBool(), expr.AllowUndefinedVariables(), expr.MaxNodes(maxNodes),
		expr.Function(inTimeName, inTime), expr.Patch(clocked{}))
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return nil, fmt.Errorf("health.ready is not an expression that is true or false: %s", first)
	}
	if e.seen == nil || len(e.seen) >= maxExpressions {
		e.seen = map[string]*expression{}
	}
	e.seen[text] = &expression{text: text, program: program}
	return e.seen[text], nil
}

// refuses says why the expression does not hold for an answer; empty where it holds.
func (e *expression) refuses(ctx context.Context, body []byte) string {
	if e == nil {
		return ""
	}
	if len(body) > maxBody {
		return fmt.Sprintf("the answer is longer than %d KiB", maxBody>>10)
	}
	fields := map[string]any{}
	if err := json.Unmarshal(body, &fields); err != nil || fields == nil {
		return "the answer is no JSON object: " + quoted(string(body))
	}
	fields[deadlineName] = ctx
	holds, err := vm.Run(e.program, fields)
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return fmt.Sprintf("%s failed: %s", quoted(e.text), quoted(first))
	}
	if holds != true {
		return quoted(e.text) + " is false"
	}
	return ""
}

func quoted(text string) string { return probe.Printable(text, probe.QuoteLimit) }

// clocked makes every turn of a loop look at the clock. The instance decides how
// many turns there are, and the virtual machine bounds memory, but not time.
type clocked struct{}

func (clocked) Visit(node *ast.Node) {
	if loop, ok := (*node).(*ast.PredicateNode); ok {
		loop.Node = &ast.CallNode{
			Callee:    &ast.IdentifierNode{Value: inTimeName},
			Arguments: []ast.Node{&ast.IdentifierNode{Value: deadlineName}, loop.Node},
		}
	}
}

// inTime passes its second argument on for as long as the context of its first lasts.
func inTime(args ...any) (any, error) {
	if len(args) != 2 {
		return nil, errors.New("two arguments are needed")
	}
	if ctx, ok := args[0].(context.Context); !ok || ctx.Err() != nil {
		return nil, errOverTime
	}
	return args[1], nil
}
