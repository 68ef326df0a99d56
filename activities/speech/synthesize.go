package speech

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Synthesize posts the runbook's JSON and finds the audio where the runbook says
// it is. Audio that comes by URL is fetched from the same host alone, so that no
// service can make Understudy read from another.
func (c *HTTPClient) Synthesize(ctx context.Context, r SynthesizeRequest) (Audio, error) {
	address, err := join(r.URL, r.Say.Path)
	if err != nil {
		return Audio{}, err
	}
	body, err := json.Marshal(r.Say.JSON)
	if err != nil {
		return Audio{}, cannotAsk("synthesize.json: %v", err)
	}
	ctx, cancel := bounded(ctx, r.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return Audio{}, cannotAsk("%v", err)
	}
	request.Header.Set("Content-Type", "application/json")
	said, err := c.do(request, r.TraceParent)
	if err != nil {
		return Audio{}, err
	}
	kind, name, _ := strings.Cut(r.Say.Audio, ":")
	switch kind {
	case "", "body":
		return audioOf(said)
	case "json":
		text, err := textField(said.body, name)
		if err != nil {
			return Audio{}, err
		}
		return decoded(text)
	case "url":
		text, err := textField(said.body, name)
		if err != nil {
			return Audio{}, err
		}
		return c.fetch(ctx, said.url, text, r.TraceParent)
	default:
		return Audio{}, cannotAsk("synthesize.audio %q is not known; it is body, json:FIELD or url:FIELD", r.Say.Audio)
	}
}

// fetch gets audio that lies at a URL, absolute or relative to the request's.
func (c *HTTPClient) fetch(ctx context.Context, from *url.URL, text, traceParent string) (Audio, error) {
	if strings.HasPrefix(text, "data:") {
		return decoded(text)
	}
	to, err := from.Parse(text)
	if err != nil || to.Scheme != from.Scheme || to.Host != from.Host {
		return Audio{}, fmt.Errorf("%w: its audio is to be fetched from elsewhere, %s; only %s://%s is allowed", ErrServer, quote(text), from.Scheme, from.Host)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return Audio{}, fmt.Errorf("%w: the URL of its audio is not usable: %s", ErrServer, quote(text))
	}
	said, err := c.do(request, traceParent)
	if err != nil {
		return Audio{}, fmt.Errorf("fetch the audio: %w", err)
	}
	return audioOf(said)
}

// audioOf takes an answer for audio, unless it is plainly something else: some
// services say with status 200 what went wrong.
func audioOf(said answer) (Audio, error) {
	if said.contentType == "application/json" || strings.HasPrefix(said.contentType, "text/") || isText(said.body) {
		return Audio{}, fmt.Errorf("%w: it answers with text instead of audio: %s", ErrServer, complaint(said.body))
	}
	return Audio{Name: "speech" + extension(said.body), Bytes: said.body}, nil
}

// textField finds a field of a JSON answer; dots lead into objects.
func textField(body []byte, name string) (string, error) {
	var said map[string]json.RawMessage
	if err := json.Unmarshal(body, &said); err != nil {
		return "", fmt.Errorf("%w: its answer is no JSON object: %s", ErrServer, quote(string(body)))
	}
	raw, ok := said[name]
	if outer, inner, dotted := strings.Cut(name, "."); !ok && dotted && len(said[outer]) > 0 {
		return textField(said[outer], inner)
	}
	var text string
	if err := json.Unmarshal(raw, &text); !ok || err != nil || text == "" {
		return "", fmt.Errorf("%w: its answer has no text %q: %s", ErrServer, name, complaint(body))
	}
	return text, nil
}

// decoded reads base64 of any variety, bare or as a data URL.
func decoded(text string) (Audio, error) {
	if data, ok := strings.CutPrefix(text, "data:"); ok {
		kind, content, found := strings.Cut(data, ",")
		if !found || !strings.HasSuffix(kind, ";base64") {
			return Audio{}, fmt.Errorf("%w: its data URL is not base64: %s", ErrServer, quote(text))
		}
		text = content
	}
	text = strings.NewReplacer("-", "+", "_", "/", "\n", "", "\r", "", " ", "").Replace(text)
	content, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil || len(content) == 0 {
		return Audio{}, fmt.Errorf("%w: its audio is not base64: %s", ErrServer, quote(text))
	}
	return Audio{Name: "speech" + extension(content), Bytes: content}, nil
}

// isText reports whether bytes are something to read rather than to hear.
func isText(body []byte) bool {
	head := body[:min(len(body), 512)]
	for !utf8.Valid(head) && len(head) > 508 { // the cut may have hit a character
		head = head[:len(head)-1]
	}
	return utf8.Valid(head) && !bytes.ContainsFunc(head, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' })
}

// extension tells a format by its first bytes.
func extension(body []byte) string {
	for _, format := range []struct{ magic, extension string }{
		{"RIFF", ".wav"}, {"RF64", ".wav"}, {"ID3", ".mp3"}, {"\xff\xfb", ".mp3"}, {"\xff\xf3", ".mp3"}, {"\xff\xf2", ".mp3"},
		{"OggS", ".ogg"}, {"fLaC", ".flac"}, {"\x1aE\xdf\xa3", ".webm"},
	} {
		if bytes.HasPrefix(body, []byte(format.magic)) {
			return format.extension
		}
	}
	if len(body) > 8 && string(body[4:8]) == "ftyp" {
		return ".m4a"
	}
	return ".bin"
}
