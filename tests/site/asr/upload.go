package asr

import (
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"os"
)

const (
	// largestUpload is what FunASR's documentation has the gateway let pass.
	largestUpload = 200 << 20
	keptInMemory  = 8 << 20
)

// receive reads the multipart form and puts its file on disk.
func receive(w http.ResponseWriter, r *http.Request) (path string, header *multipart.FileHeader, ok bool) {
	r.Body = http.MaxBytesReader(w, r.Body, largestUpload)
	err := r.ParseMultipartForm(keptInMemory)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		Fail(w, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
		return "", nil, false
	}
	if err != nil && !errors.Is(err, http.ErrNotMultipart) {
		Fail(w, http.StatusBadRequest, "There was an error parsing the body")
		return "", nil, false
	}
	upload, header, err := r.FormFile("file")
	if err != nil {
		answer(w, http.StatusUnprocessableEntity, map[string]any{"detail": []any{
			map[string]any{"type": "missing", "loc": []string{"body", "file"}, "msg": "Field required", "input": nil},
		}})
		return "", nil, false
	}
	defer upload.Close()
	file, err := os.CreateTemp("", "upload-")
	if err != nil {
		crashed(w, err)
		return "", nil, false
	}
	_, err = io.Copy(file, upload)
	if err := errors.Join(err, file.Close()); err != nil {
		os.Remove(file.Name())
		crashed(w, err)
		return "", nil, false
	}
	return file.Name(), header, true
}
