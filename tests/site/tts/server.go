// Package tts is a speech synthesis server of the kind that people wrap around
// Sambert-HifiGan with Flask, and flite as its engine.
//
// It keeps what it says as WAV files in a directory and serves them. Its health
// check really synthesizes, as such wrappers do, unless it is asked to be light.
package tts

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/understudy-dr/understudy/tests/site/audio"
	"github.com/understudy-dr/understudy/tests/site/flite"
	"github.com/understudy-dr/understudy/tests/site/model"
	"github.com/understudy-dr/understudy/tests/site/stage"
)

const (
	// DefaultName is what the model is called where nobody says otherwise.
	DefaultName = "flite-rms"

	longestText = 500 // characters
	largestBody = 64 << 10
	slowest     = 0.5
	fastest     = 2.0
	// healthText takes flite long enough to be felt, as a health check of this kind is.
	healthText = "This is the health check of the speech service. It says a few sentences, as a caller would want them. " +
		"One two three four five six seven eight nine. It does so each time that somebody asks how it feels."
)

// Needed are the files without which a model is none.
var Needed = []string{model.Voice}

// Emotions are what a text can be spoken with, as the pitch that each adds, in cents.
var Emotions = map[string]int{"neutral": 0, "happy": 150, "sad": -150, "angry": 75}

// The forms of an answer.
const (
	AnswerBody = "body" // the audio itself
	AnswerJSON = "json" // JSON with the audio in base64
	AnswerURL  = "url"  // JSON with the path of the audio on this server
)

// Config describes a server.
type Config struct {
	// Name of the model, as clients see it.
	Name  string
	Model model.Model
	// Output is the directory of the audio; it exists.
	Output string
	// Answer is the form of answers where the query's "answer" does not ask for another.
	Answer string
	Stage  *stage.Stage
}

// Server is a loaded voice behind HTTP.
type Server struct {
	Config
}

// request is the body of POST /synthesize.
type request struct {
	Text    string  `json:"text"`
	Emotion string  `json:"emotion"`
	Speed   float64 `json:"speed"`
}

// Load warms the model up, then adds the server's routes to the stage.
func Load(ctx context.Context, config Config) (*Server, error) {
	s := &Server{Config: config}
	if err := s.try(ctx); err != nil {
		return nil, fmt.Errorf("warm up %s: %w", config.Model.Dir, err)
	}
	s.Stage.Look("GET /health", s.health)
	s.Stage.Look("GET /version", s.version)
	s.Stage.Look("GET /audio/{name}", s.audio)
	s.Stage.Handle("POST /synthesize", s.synthesize)
	return s, nil
}

// Fail answers in the way of such a Flask program.
func Fail(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"status": "error", "msg": message})
}

func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	if s.Stage.Suffers(stage.NotReady) {
		Fail(w, http.StatusServiceUnavailable, "model not loaded")
		return
	}
	if r.URL.Query().Get("light") != "1" {
		if err := s.try(r.Context()); err != nil {
			Fail(w, http.StatusServiceUnavailable, err.Error())
			return
		}
	}
	answer(w, http.StatusOK, map[string]any{
		"status": "ok", "model": s.Name, "version": s.Model.Version,
		"emotion_support": []string{"happy", "sad", "angry", "neutral"}, "timestamp": time.Now().Unix(),
	})
}

func (s *Server) version(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]string{"version": s.Model.Version})
}

func (s *Server) audio(w http.ResponseWriter, r *http.Request) {
	wav, err := os.ReadFile(filepath.Join(s.Output, filepath.Base(r.PathValue("name"))))
	if err != nil {
		Fail(w, http.StatusNotFound, "no such audio")
		return
	}
	w.Header().Set("Content-Type", "audio/wav")
	_, _ = w.Write(wav)
}

func (s *Server) synthesize(w http.ResponseWriter, r *http.Request) {
	said, err := read(w, r)
	if err != nil {
		Fail(w, http.StatusBadRequest, err.Error())
		return
	}
	name := time.Now().UTC().Format("20060102-150405.000000000") + ".wav"
	var wav []byte
	fault, err := s.Stage.Infer(w, r, "", func() (err error) {
		wav, err = s.speak(context.WithoutCancel(r.Context()), said, name)
		return err
	})
	if errors.Is(err, stage.ErrAnswered) {
		return
	}
	if err == nil && fault.Mode == stage.Wrong {
		wav = audio.Silence(time.Second).WAV()
		err = os.WriteFile(filepath.Join(s.Output, name), wav, 0o644)
	}
	if err != nil {
		Fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	form := s.Answer
	if asked := r.URL.Query().Get("answer"); asked != "" {
		form = asked
	}
	described := map[string]any{"status": "ok", "emotion": said.Emotion, "sample_rate": audio.Rate}
	switch form {
	case AnswerJSON:
		described["audio"] = base64.StdEncoding.EncodeToString(wav)
		answer(w, http.StatusOK, described)
	case AnswerURL:
		described["url"] = "/audio/" + name
		answer(w, http.StatusOK, described)
	default:
		w.Header().Set("Content-Type", "audio/wav")
		_, _ = w.Write(wav)
	}
}

// speak writes the audio into the output directory, where it appears as a whole, and returns it.
func (s *Server) speak(ctx context.Context, said request, name string) ([]byte, error) {
	work, err := os.MkdirTemp(s.Output, ".work-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	path := filepath.Join(work, name)
	manner := flite.Manner{Speed: said.Speed, Cents: Emotions[said.Emotion]}
	if err := flite.Speak(ctx, filepath.Join(s.Model.Dir, model.Voice), said.Text, path, manner); err != nil {
		return nil, err
	}
	wav, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return wav, os.Rename(path, filepath.Join(s.Output, name))
}

// try speaks a text and throws the audio away.
func (s *Server) try(ctx context.Context) error {
	work, err := os.MkdirTemp("", "try-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	return flite.Speak(ctx, filepath.Join(s.Model.Dir, model.Voice), healthText, filepath.Join(work, "try.wav"), flite.Manner{})
}

// read takes the request's body and says what is wrong with it.
func read(w http.ResponseWriter, r *http.Request) (request, error) {
	said := request{Emotion: "neutral", Speed: 1}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, largestBody)).Decode(&said); err != nil {
		return request{}, fmt.Errorf("body: %w", err)
	}
	// flite reads no text with a zero byte in it, and nothing is no text.
	said.Text = strings.TrimSpace(strings.ReplaceAll(said.Text, "\x00", " "))
	if said.Text == "" {
		return request{}, errors.New("text is empty")
	}
	if n := utf8.RuneCountInString(said.Text); n > longestText {
		return request{}, fmt.Errorf("text has %d characters; %d are allowed", n, longestText)
	}
	if _, ok := Emotions[said.Emotion]; !ok {
		return request{}, fmt.Errorf("emotion %q is not supported", said.Emotion)
	}
	if said.Speed < slowest || said.Speed > fastest {
		return request{}, fmt.Errorf("speed must be between %g and %g", slowest, fastest)
	}
	return said, nil
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
