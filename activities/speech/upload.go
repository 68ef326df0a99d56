package speech

import (
	"bytes"
	"fmt"
	"io"
)

// upload reads audio for a request. Whatever goes wrong with it is ours, and must
// not look like the server's fault.
type upload struct {
	source io.ReadCloser
	left   int64
}

func (a Audio) open() (*upload, error) {
	if a.Open == nil {
		return &upload{source: io.NopCloser(bytes.NewReader(a.Bytes)), left: int64(len(a.Bytes))}, nil
	}
	source, err := a.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAudio, err)
	}
	return &upload{source: source, left: a.Size}, nil
}

// Read reads what was promised and no more.
func (u *upload) Read(p []byte) (int, error) {
	if u.left <= 0 {
		return 0, io.EOF
	}
	n, err := u.source.Read(p[:min(int64(len(p)), u.left)])
	u.left -= int64(n)
	switch {
	case err == io.EOF && u.left > 0:
		return n, fmt.Errorf("%w: it ends %d bytes before its size", ErrAudio, u.left)
	case err == io.EOF || err == nil:
		return n, nil
	default:
		return n, fmt.Errorf("%w: %w", ErrAudio, err)
	}
}

func (u *upload) Close() error { return u.source.Close() }
