package speech

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"path"
	"strings"
)

// The dialects of transcription.
const (
	OpenAI = "openai"
	FunASR = "funasr"
)

// paths are where the dialects are spoken.
var paths = map[string]string{"": "/v1/audio/transcriptions", OpenAI: "/v1/audio/transcriptions", FunASR: "/asr"}

// contentTypes are by the extension of the file; servers that mind want these.
var contentTypes = map[string]string{
	".wav": "audio/wav", ".mp3": "audio/mpeg", ".flac": "audio/flac", ".ogg": "audio/ogg", ".opus": "audio/ogg",
	".m4a": "audio/mp4", ".mp4": "audio/mp4", ".webm": "audio/webm", ".pcm": "audio/pcm",
}

// Transcribe posts the audio as a form, with its length told and without a copy
// of it: neither chunked bodies nor large ones are understood by every server.
func (c *HTTPClient) Transcribe(ctx context.Context, r TranscribeRequest) (Transcript, error) {
	where := r.Path
	if where == "" {
		if where = paths[r.Dialect]; where == "" {
			return Transcript{}, cannotAsk("the dialect %q is not known; it is openai or funasr", r.Dialect)
		}
	}
	address, err := join(r.URL, where)
	if err != nil {
		return Transcript{}, err
	}
	ctx, cancel := bounded(ctx, r.Timeout)
	defer cancel()
	request, err := formRequest(ctx, address, fields(r), r.Audio)
	if errors.Is(err, ErrAudio) {
		return Transcript{}, err
	}
	if err != nil {
		return Transcript{}, cannotAsk("%v", err)
	}
	said, err := c.do(request, r.TraceParent)
	if err != nil {
		return Transcript{}, err
	}
	return parseTranscript(said)
}

var commaless = strings.NewReplacer(",", " ", "，", " ")

// field is one text of a form.
type field struct{ name, value string }

// fields are those that the dialect knows. No server is sent one that it might
// refuse: response_format is understood, or ignored, by all.
func fields(r TranscribeRequest) []field {
	var all []field
	add := func(name, value string) {
		if value != "" {
			all = append(all, field{name, value})
		}
	}
	add("language", r.Language)
	if r.Dialect != FunASR {
		add("model", r.Model)
		add("response_format", "verbose_json")
		return all
	}
	var hotwords []string
	for _, word := range r.Hotwords {
		// The comma parts the words, so none may hold one.
		if word = strings.Join(strings.Fields(commaless.Replace(word)), " "); word != "" {
			hotwords = append(hotwords, word)
		}
	}
	add("hotwords", strings.Join(hotwords, ","))
	return all
}

// formRequest makes the request around the audio's bytes.
func formRequest(ctx context.Context, address string, fields []field, audio Audio) (*http.Request, error) {
	var head bytes.Buffer
	form := multipart.NewWriter(&head)
	for _, f := range fields {
		if err := form.WriteField(f.name, f.value); err != nil {
			return nil, err
		}
	}
	name, kind := fileName(audio.Name)
	file := textproto.MIMEHeader{}
	file.Set("Content-Disposition", fmt.Sprintf(`form-data; name="file"; filename="%s"`, name))
	file.Set("Content-Type", kind)
	if _, err := form.CreatePart(file); err != nil {
		return nil, err
	}
	tail := "\r\n--" + form.Boundary() + "--\r\n"
	source, err := audio.open()
	if err != nil {
		return nil, err
	}
	body := struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head.Bytes()), source, strings.NewReader(tail)), source}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, body)
	if err != nil {
		source.Close()
		return nil, err
	}
	request.ContentLength = int64(head.Len()) + source.left + int64(len(tail))
	request.Header.Set("Content-Type", form.FormDataContentType())
	return request, nil
}

// fileName is the last part of a name or URL, in letters that no parser of forms
// stumbles over, and the content type that goes with its extension.
func fileName(name string) (file, contentType string) {
	file = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("._-", r):
			return r
		default:
			return '_'
		}
	}, path.Base(name))
	if strings.Trim(file, "._") == "" {
		file = "audio.wav"
	}
	contentType = contentTypes[strings.ToLower(path.Ext(file))]
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	return file, contentType
}
