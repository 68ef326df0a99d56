package speechtest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// received is what a server was sent.
type received struct {
	path, traceParent string
	length            int64
	form              map[string]string
	file              []byte
	fileName, kind    string
	json              map[string]any
}

// server is a service that gives one answer and keeps what it was sent.
type server struct {
	URL string

	mu   sync.Mutex
	last received
}

// got is what the server was sent last.
func (s *server) got() received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// answering is a service whose every answer is this one.
func answering(t *testing.T, status int, contentType, body string) *server {
	return handling(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

// handling reads a request whole, as services do, and then handles it.
func handling(t *testing.T, handle http.HandlerFunc) *server {
	s := &server{}
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			if err := s.read(r); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body) // a server sees its client leave only behind the body
		}
		handle(w, r)
	}))
	t.Cleanup(func() {
		listener.CloseClientConnections()
		listener.Close()
	})
	s.URL = listener.URL
	return s
}

func (s *server) read(r *http.Request) error {
	got := received{path: r.URL.RequestURI(), traceParent: r.Header.Get("Traceparent"), length: r.ContentLength, form: map[string]string{}}
	// A request whose answer broke off may still be in here when the next one comes.
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.last = got
	}()
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return json.NewDecoder(r.Body).Decode(&got.json)
	}
	parts, err := r.MultipartReader()
	if err != nil {
		return err
	}
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return err
		}
		if part.FormName() == "file" {
			got.file, got.fileName, got.kind = content, part.FileName(), part.Header.Get("Content-Type")
		} else {
			got.form[part.FormName()] = string(content)
		}
	}
}

// Tone is one second of WAV audio, loud enough to be heard.
func Tone() []byte { return wav(16000, func(i int) int16 { return int16(8000 * (i / 20 % 2 * 2)) }) }

// Silence is one second of WAV audio with nothing to hear.
func Silence() []byte { return wav(16000, func(int) int16 { return 0 }) }

// wav makes a file of 16 kHz, one channel, 16 bits.
func wav(samples int, sample func(int) int16) []byte {
	data := make([]byte, 0, 2*samples)
	for i := range samples {
		v := uint16(sample(i))
		data = append(data, byte(v), byte(v>>8))
	}
	size := func(n int) string { return string([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}) }
	head := "RIFF" + size(36+len(data)) + "WAVEfmt " + size(16) + "\x01\x00\x01\x00" + size(16000) + size(32000) + "\x02\x00\x10\x00data" + size(len(data))
	return append([]byte(head), data...)
}

func inJSON(field string, audio []byte) string {
	return fmt.Sprintf(`{"%s":%q,"sample_rate":16000}`, field, base64.StdEncoding.EncodeToString(audio))
}
