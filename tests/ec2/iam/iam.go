// Package iam evaluates IAM policies as AWS does, as far as the policies in
// deploy/aws go: what a statement uses and this package does not know is an error,
// never a guess.
package iam

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/understudy-dr/understudy/tests/ec2"
)

// Policy is one policy document. It is safe for concurrent use.
type Policy struct {
	statements []statement

	mu   sync.Mutex
	used map[string]bool
	done map[string]bool
}

// statement is one rule; texts may be one or several in JSON.
type statement struct {
	Sid, Effect string
	Action      texts
	Resource    texts
	Condition   map[string]map[string]texts
}

type texts []string

func (t *texts) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*t = texts{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(t))
}

// Load reads a policy; marks in it, such as ACCOUNT_ID, are replaced.
func Load(file string, marks map[string]string) (*Policy, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for mark, value := range marks {
		text = bytes.ReplaceAll(text, []byte(mark), []byte(value))
	}
	var document struct {
		Version   string
		Statement []statement
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&document); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if document.Version != "2012-10-17" {
		return nil, fmt.Errorf("%s: version %q", file, document.Version)
	}
	p := &Policy{statements: document.Statement, used: map[string]bool{}, done: map[string]bool{}}
	for _, s := range p.statements {
		if s.Sid == "" || (s.Effect != "Allow" && s.Effect != "Deny") || len(s.Action) == 0 || len(s.Resource) == 0 {
			return nil, fmt.Errorf("%s: statement %q is not complete", file, s.Sid)
		}
		for operator := range s.Condition {
			if operators[operator] == nil {
				return nil, fmt.Errorf("%s: statement %s uses the operator %s, which is not known here", file, s.Sid, operator)
			}
		}
	}
	return p, nil
}

// Allows decides on an access: a statement must allow it, and none deny it.
func (p *Policy) Allows(a ec2.Access) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	allowed := false
	for _, s := range p.statements {
		if !s.fits(a) {
			continue
		}
		if s.Effect == "Deny" {
			return false
		}
		allowed = true
		p.used[s.Sid] = true
	}
	if allowed {
		p.done[a.Action] = true
	}
	return allowed
}

// Unused are the statements that have allowed nothing so far.
func (p *Policy) Unused() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var sids []string
	for _, s := range p.statements {
		if s.Effect == "Allow" && !p.used[s.Sid] {
			sids = append(sids, s.Sid)
		}
	}
	return sids
}

// Actions are those that some statement allows, and Done those that were allowed so far.
func (p *Policy) Actions() []string {
	all := map[string]bool{}
	for _, s := range p.statements {
		for _, action := range s.Action {
			if s.Effect == "Allow" {
				all[action] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Done are the actions that were allowed so far.
func (p *Policy) Done() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.done))
}

func (s statement) fits(a ec2.Access) bool {
	if !anyFits(s.Action, a.Action) || !anyFits(s.Resource, a.Resource) {
		return false
	}
	for operator, keys := range s.Condition {
		for key, wanted := range keys {
			if !operators[operator](wanted, a.Keys[key]) {
				return false
			}
		}
	}
	return true
}

// operators of conditions: what is wanted, and what the request has. A key that
// the request lacks fails a plain comparison, passes one that ends in IfExists,
// and passes ForAllValues.
var operators = map[string]func(wanted, got []string) bool{
	"StringEquals": equals,
	"StringEqualsIfExists": func(wanted, got []string) bool {
		return len(got) == 0 || equals(wanted, got)
	},
	"StringLike": func(wanted, got []string) bool { return len(got) == 1 && anyFits(wanted, got[0]) },
	"Bool":       equals,
	"Null": func(wanted, got []string) bool {
		return (wanted[0] == "true") == (len(got) == 0)
	},
	"ForAllValues:StringEquals": func(wanted, got []string) bool {
		return !slices.ContainsFunc(got, func(one string) bool { return !slices.Contains(wanted, one) })
	},
}

func equals(wanted, got []string) bool { return len(got) == 1 && slices.Contains(wanted, got[0]) }

// anyFits compares with patterns in which * stands for any characters, slashes included.
func anyFits(patterns []string, text string) bool {
	flat := strings.NewReplacer("/", "\x00", "[", `\[`, `\`, `\\`)
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		fits, err := path.Match(flat.Replace(pattern), strings.ReplaceAll(text, "/", "\x00"))
		return err == nil && fits
	})
}
