package triggers

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/workflows"
	"github.com/understudy-dr/understudy/workflows/printing"
)

const (
	// trendRuns are so many of the latest recoveries and drills over which trends are looked for.
	trendRuns = 500
	// verifyIn bounds a look at all reports, also those in a bucket.
	verifyIn = 50 * time.Second
	// pagePolicy lets a report's page show itself, and nothing else.
	pagePolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// Formats of a report.
const (
	FormatJSON     = "json"
	FormatMarkdown = "markdown"
	FormatPage     = "html"
)

// file is a report as a file.
type file struct {
	ContentType string `header:"Content-Type"`
	Vary        string `header:"Vary"`
	Policy      string `header:"Content-Security-Policy"`
	Body        []byte
}

type reportInput struct {
	RecoveryPath
	Format string `query:"format" enum:"json,markdown,html" doc:"json, markdown, or html: a page to look at or to print. Without it Accept decides"`
	Accept string `header:"Accept" hidden:"true"`
}

func (a *API) reportFile(ctx context.Context, in *reportInput) (*file, error) {
	switch {
	case in.Format != "":
	case strings.Contains(in.Accept, "text/markdown"):
		in.Format = FormatMarkdown
	case strings.Contains(in.Accept, "text/html"):
		in.Format = FormatPage
	default:
		in.Format = FormatJSON
	}
	return a.printed(ctx, in.ID, in.Format)
}

func (a *API) reportMarkdown(ctx context.Context, in *RecoveryPath) (*file, error) {
	return a.printed(ctx, in.ID, FormatMarkdown)
}

// printed is a report in a format: the very file that was written, with its
// seal, or what would be written now of a recovery that still runs.
func (a *API) printed(ctx context.Context, id, format string) (*file, error) {
	detail, err := a.detail(ctx, id)
	if err != nil {
		return nil, err
	}
	f := &file{Vary: "Accept", Policy: pagePolicy}
	var ext string
	switch format {
	case FormatMarkdown:
		ext, f.ContentType = printing.MarkdownExt, "text/markdown; charset=utf-8"
	case FormatPage:
		ext, f.ContentType = printing.PageExt, "text/html; charset=utf-8"
	default:
		ext, f.ContentType = ".json", "application/json"
	}
	f.Body, err = a.Reports.Read(ctx, workflows.ReportName(detail.Report.Service, detail.Report.Epoch)+ext)
	if !errors.Is(err, reports.ErrNone) {
		return f, err
	}
	switch format {
	case FormatMarkdown:
		f.Body, err = []byte(printing.Markdown(detail.Report)), nil
	case FormatPage:
		f.Body, err = printing.Page(detail.Report)
	default:
		f.Body, err = json.MarshalIndent(detail.Report, "", "  ")
	}
	return f, err
}

func (a *API) verifyReports(ctx context.Context, in *struct {
	Service string `query:"service" maxLength:"63" doc:"only those of this service"`
}) (*Body[[]reports.Verified], error) {
	ctx, cancel := context.WithTimeout(ctx, verifyIn)
	defer cancel()
	all, err := reports.VerifyAll(ctx, a.Reports, in.Service, time.Now())
	if err != nil {
		return nil, away("the reports cannot be read", err)
	}
	if in.Service != "" && len(all) == 0 {
		return nil, huma.Error404NotFound("there are no reports of " + clean(in.Service, 63))
	}
	return &Body[[]reports.Verified]{all}, nil
}

func (a *API) trends(ctx context.Context, in *ServicePath) (*Body[reports.Trends], error) {
	if _, ok := a.Library().Lookup(in.Service); !ok {
		return nil, a.unknown(in.Service)
	}
	runs, err := a.past.runs(ctx, in.Service, trendRuns)
	if err != nil {
		return nil, away("the reports cannot be read", err)
	}
	return &Body[reports.Trends]{reports.NewTrends(in.Service, runs)}, nil
}
