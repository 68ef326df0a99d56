// Package asr is a speech recognition server with the interface of FunASR's
// own, and pocketsphinx as its engine.
//
// The model is loaded, and has proved itself on a recording that comes with it,
// before the port opens. One inference runs at a time. Each transcription is a
// row in a SQLite history. Errors have the shape of FastAPI's.
package asr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/understudy-dr/understudy/tests/site/audio"
	"github.com/understudy-dr/understudy/tests/site/model"
	"github.com/understudy-dr/understudy/tests/site/sphinx"
	"github.com/understudy-dr/understudy/tests/site/stage"
)

const (
	// DefaultName is what the model is called where nobody says otherwise.
	DefaultName = "pocketsphinx-en-us"

	language = "en"
)

// Needed are the files without which a model is none.
var Needed = []string{sphinx.Acoustic + "/mdef", sphinx.Language, sphinx.Lexicon, model.SelfTest}

// Config describes a server.
type Config struct {
	// Name of the model, as clients see it.
	Name     string
	Model    model.Model
	Settings Settings
	// History may be nil.
	History *History
	Stage   *stage.Stage
}

// Server is a loaded recognizer behind HTTP.
type Server struct {
	Config
	engine *sphinx.Engine
}

// Load loads the model and tests it, then adds the server's routes to the stage.
func Load(ctx context.Context, config Config) (*Server, error) {
	engine, err := sphinx.Load(config.Model.Dir, config.Settings.Hotwords)
	if err != nil {
		return nil, err
	}
	s := &Server{Config: config, engine: engine}
	if err := s.selfTest(ctx); err != nil {
		engine.Close()
		return nil, fmt.Errorf("self-test of %s: %w", config.Model.Dir, err)
	}
	s.Stage.Look("GET /health", s.health)
	s.Stage.Look("GET /version", s.version)
	s.Stage.Look("GET /settings", s.settings)
	s.Stage.Look("GET /v1/models", s.models)
	s.Stage.Look("GET /history", s.history)
	s.Stage.Handle("POST /v1/audio/transcriptions", s.transcriptions)
	s.Stage.Handle("POST /asr", s.asr)
	return s, nil
}

// Engine is the loaded engine.
func (s *Server) Engine() *sphinx.Engine { return s.engine }

// Close ends the engine.
func (s *Server) Close() { s.engine.Close() }

// Fail answers in FastAPI's way.
func Fail(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"detail": message})
}

func (s *Server) selfTest(ctx context.Context) error {
	clip, err := audio.Decode(ctx, filepath.Join(s.Model.Dir, model.SelfTest))
	if err != nil {
		return err
	}
	utterances, err := s.engine.Transcribe(clip)
	if err != nil {
		return err
	}
	if heard := newTranscript(utterances, clip.Duration()).Text; heard != audio.Digits {
		return fmt.Errorf("heard %q, want %q", heard, audio.Digits)
	}
	return nil
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	loaded := s.Name
	if s.Stage.Suffers(stage.NotReady) {
		loaded = "fallback"
	}
	answer(w, http.StatusOK, map[string]any{"status": "ok", "device": "cpu", "models_loaded": []string{loaded}})
}

func (s *Server) version(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]string{"version": s.Model.Version})
}

func (s *Server) settings(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]string{"hash": s.Settings.Hash})
}

func (s *Server) models(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"object": "list", "data": []any{map[string]string{"id": s.Name, "object": "model"}}})
}

func (s *Server) history(w http.ResponseWriter, r *http.Request) {
	if s.History == nil {
		Fail(w, http.StatusNotFound, "this server keeps no history")
		return
	}
	entries, err := s.History.Last(r.Context())
	if err != nil {
		crashed(w, err)
		return
	}
	answer(w, http.StatusOK, entries)
}

// transcriptions is OpenAI's endpoint. As FunASR's, it takes an unknown format for json, and answers "text" with a JSON string.
func (s *Server) transcriptions(w http.ResponseWriter, r *http.Request) {
	t, ok := s.transcribe(w, r)
	if !ok {
		return
	}
	switch r.FormValue("response_format") {
	case "text":
		answer(w, http.StatusOK, t.Text)
	case "verbose_json":
		answer(w, http.StatusOK, t.transcript)
	default:
		answer(w, http.StatusOK, map[string]string{"text": t.Text})
	}
}

// asr is FunASR's own endpoint.
func (s *Server) asr(w http.ResponseWriter, r *http.Request) {
	if t, ok := s.transcribe(w, r); ok {
		answer(w, http.StatusOK, t)
	}
}

// transcribe reads the form, runs the inference and keeps the row. Where it returns false, the answer is given.
func (s *Server) transcribe(w http.ResponseWriter, r *http.Request) (timed, bool) {
	path, header, ok := receive(w, r)
	if !ok {
		return timed{}, false
	}
	defer os.Remove(path)
	if name := r.FormValue("model"); name != "" && name != s.Name {
		Fail(w, http.StatusBadRequest, fmt.Sprintf("Unknown model %q; this server has %q", name, s.Name))
		return timed{}, false
	}
	var t timed
	fault, err := s.Stage.Infer(w, r, header.Filename, func() (err error) {
		t, err = s.infer(r.Context(), path, words(r.FormValue("hotwords")))
		return err
	})
	if errors.Is(err, stage.ErrAnswered) {
		return timed{}, false
	}
	if err == nil && fault.Mode == stage.Wrong {
		t.spoil()
	}
	if err == nil && s.History != nil {
		err = s.History.Add(context.WithoutCancel(r.Context()), Entry{
			Timestamp: time.Now().UTC().Format(time.RFC3339Nano), Filename: header.Filename, Path: path,
			RawText: t.Text, ITNText: s.Settings.write(t.Text), Language: language,
		})
	}
	if err != nil {
		crashed(w, err)
		return timed{}, false
	}
	return t, true
}

// infer transcribes a file. A request's own hot words cost the load of another engine.
func (s *Server) infer(ctx context.Context, path string, hotwords []string) (timed, error) {
	begin := time.Now()
	// A client that has gone does not stop a model.
	clip, err := audio.Decode(context.WithoutCancel(ctx), path)
	if err != nil {
		return timed{}, err
	}
	engine := s.engine
	if len(hotwords) > 0 {
		if engine, err = sphinx.Load(s.Model.Dir, append(hotwords, s.Settings.Hotwords...)); err != nil {
			return timed{}, err
		}
		defer engine.Close()
	}
	utterances, err := engine.Transcribe(clip)
	if err != nil {
		return timed{}, err
	}
	t := timed{transcript: newTranscript(utterances, clip.Duration())}
	t.ProcessingTime = round(time.Since(begin).Seconds())
	if t.Duration > 0 {
		t.RTF = round(t.ProcessingTime / t.Duration)
	}
	return t, nil
}

// crashed is what uvicorn answers when a handler raises; the reason is in the log.
func crashed(w http.ResponseWriter, err error) {
	fmt.Fprintln(os.Stderr, "error:", err)
	http.Error(w, "Internal Server Error", http.StatusInternalServerError)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
