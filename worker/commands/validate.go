package commands

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/understudy-dr/understudy/runbooks"
)

type validateCommand struct {
	Paths []string `arg:"" optional:"" help:"Runbook files or directories. Without any, those of the site file." type:"path"`
}

func (validateCommand) Help() string {
	return `Every mistake of every file is printed in one go, as file:line:column: key: what is wrong and what is allowed.
Notices tell what should be looked at before an outage does; they stop nothing.
Exit status: 0 without mistakes, 4 with.`
}

func (c *validateCommand) Run(g *Globals) error {
	site, problems := runbooks.LoadSite(g.Config)
	paths := c.Paths
	if len(paths) == 0 {
		paths = site.Runbooks
	}
	if len(paths) == 0 && g.Config == "" {
		return exit{ExitUsage, errors.New("nothing to check: name runbooks, or a site file with --config")}
	}
	library, found := runbooks.LoadLibrary(paths...)
	problems = append(problems, found...)
	if g.Output == "json" {
		encoder := json.NewEncoder(g.out)
		encoder.SetIndent("", "  ")
		if problems == nil {
			problems = runbooks.Problems{}
		}
		if err := encoder.Encode(problems); err != nil {
			return err
		}
	} else {
		for _, p := range problems {
			fmt.Fprintln(g.out, p)
		}
		fmt.Fprintf(g.out, "%d services, %d mistakes, %d notices\n", len(library.Services()), len(problems.Errors()), len(problems.Notices()))
	}
	if len(problems.Errors()) > 0 {
		return exit{ExitProblem, errors.New("")}
	}
	return nil
}

type schemaCommand struct {
	Site      bool `help:"That of the site file instead."`
	Reference bool `help:"Print it as a page for people, in Markdown."`
}

func (schemaCommand) Help() string {
	return `Save it and name it in the first line of a runbook, and editors complete and check while you type:
# yaml-language-server: $schema=./runbook.schema.json`
}

func (c *schemaCommand) Run(g *Globals) error {
	if c.Reference {
		page, err := runbooks.Reference(c.Site)
		if err == nil {
			_, err = fmt.Fprint(g.out, page)
		}
		return err
	}
	schema, err := runbooks.Schema(c.Site)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(g.out, string(schema))
	return err
}
