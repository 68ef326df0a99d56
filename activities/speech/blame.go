package speech

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// Blame says what a failed request means for the audio that was sent with it.
type Blame int

// Whom to blame.
const (
	// Nobody failed: there is no error.
	Nobody Blame = iota
	// TheItem will never succeed, whoever is asked.
	TheItem
	// Perhaps the item brought it about: the server broke off, failed or fell silent over it. Another try may
	// succeed; after some it is the item's fault.
	Perhaps
	// TheService is away, full or closed to us: it never worked on the audio, which is not to blame.
	TheService
	// Ourselves: we broke off.
	Ourselves
)

// BlameOf judges the error of a Transcribe.
func BlameOf(err error) Blame {
	var network *net.OpError
	switch {
	case err == nil:
		return Nobody
	case errors.Is(err, context.Canceled):
		return Ourselves
	case errors.Is(err, ErrItem):
		return TheItem
	case errors.Is(err, ErrAudio):
		return Perhaps
	case errors.Is(err, errAsk):
		return TheService
	case errors.As(err, &network) && network.Op == "dial":
		return TheService
	case errors.Is(err, ErrGone), errors.Is(err, ErrMute):
		return Perhaps
	}
	switch status := Status(err); status {
	case 0, http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		// An answer that is no transcript has no bad status. A gateway tells of a server that broke off as 502.
		return Perhaps
	default:
		return TheService
	}
}

// LimitFor is the time that a transcription may take: a minute, and the length of
// the audio for each of so many requests that one server may work off one by one,
// and once more.
func LimitFor(seconds float64, requests int) time.Duration {
	return time.Minute + time.Duration(seconds*float64(requests+1)*float64(time.Second))
}
