package triggers

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-dr/understudy/activities/jobs"
)

// outputInput names a file of a finished batch.
type outputInput struct {
	BatchPath
	File string `query:"file" enum:"output,failed,quarantined,report" default:"output" doc:"which file: what succeeded, what failed, what is quarantined, or the report"`
}

var outputFiles = map[string]string{"output": jobs.OutputFile, "failed": jobs.FailedFile, "quarantined": jobs.QuarantinedFile}

func (a *API) mountOutput(api huma.API, path string) {
	huma.Register(api, huma.Operation{
		OperationID: "get-batch-output", Method: http.MethodGet, Path: base + path, Summary: "A file of a finished batch, as JSON lines", Tags: tags(path),
		Errors: append([]int{http.StatusConflict}, failures...),
		Responses: map[string]*huma.Response{
			"200": {Description: "The file.", Content: map[string]*huma.MediaType{"application/jsonl": {Schema: &huma.Schema{Type: huma.TypeString}}}},
		},
	}, a.output)
}

func (a *API) output(ctx context.Context, in *outputInput) (*huma.StreamResponse, error) {
	room, j, _, err := a.openBatch(ctx, &in.BatchPath)
	if err != nil {
		return nil, err
	}
	report, err := room.store.Report(ctx, j.ID)
	if err != nil {
		return nil, batchProblem(err)
	}
	if in.File == "report" {
		return &huma.StreamResponse{Body: func(c huma.Context) {
			c.SetHeader("Content-Type", "application/json")
			_ = json.NewEncoder(c.BodyWriter()).Encode(report) // a reader who goes away misses the rest
		}}, nil
	}
	file, err := room.store.File(ctx, j.ID, outputFiles[in.File])
	if err != nil {
		return nil, batchProblem(err)
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		defer file.Close()
		c.SetHeader("Content-Type", "application/jsonl")
		c.SetHeader("Content-Disposition", `attachment; filename="`+j.ID+"-"+outputFiles[in.File]+`"`)
		out := c.BodyWriter()
		if _, err := io.Copy(patient(out), file); err != nil {
			panic(http.ErrAbortHandler) // the reader must not take a part for the whole
		}
	}}, nil
}

// patient lets an answer take as long as its reader goes on reading.
func patient(w io.Writer) io.Writer {
	answer, ok := w.(http.ResponseWriter)
	if !ok {
		return w
	}
	return patientWriter{w, http.NewResponseController(answer)}
}

type patientWriter struct {
	io.Writer
	control *http.ResponseController
}

func (p patientWriter) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(writeIn)) // where it cannot be set, the server's own holds
	return p.Writer.Write(b)
}
