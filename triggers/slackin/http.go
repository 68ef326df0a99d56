package slackin

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	// Path is where Slack sends clicks; the app's interactivity request URL ends with it.
	Path = "/slack/interactive"
	// window is how old a signed request may be, and how far our clock may be behind Slack's.
	window = 5 * time.Minute
	// maxBody bounds a request; a message with its payload has a few tens of KiB.
	maxBody = 1 << 20
	// version of Slack's signatures.
	version = "v0"
)

// ServeHTTP takes a click that Slack has signed. It answers 200 at once and acts
// after; 401 for what is not signed, or too old; 400 for what is no interaction;
// 409 for a click that was taken before; 503 where too many wait, which Slack
// shows to the one who has clicked.
func (k *Clicks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "clicks come by POST", http.StatusMethodNotAllowed)
		return
	}
	if k.SigningSecret == "" {
		http.Error(w, "no clicks are taken here: the site file has no chat.slack.signing_secret", http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		http.Error(w, fmt.Sprintf("a click has at most %d bytes", maxBody), http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		http.Error(w, "the body could not be read", http.StatusBadRequest)
		return
	}
	if err := k.verify(r.Header, body); err != nil {
		k.results.WithLabelValues("unsigned").Inc()
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || form.Get("payload") == "" {
		http.Error(w, "this is no interaction of Slack's: it has no payload", http.StatusBadRequest)
		return
	}
	c, err := parse([]byte(form.Get("payload")))
	switch {
	case errors.Is(err, errForeign):
		k.results.WithLabelValues("foreign").Inc()
		return // Slack asks for 200, whatever an app does not care about
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch k.take(c) {
	case repeated:
		http.Error(w, "this click was taken before", http.StatusConflict)
	case crowded:
		http.Error(w, "too many clicks wait; press again", http.StatusServiceUnavailable)
	}
}

// verify holds a request against Slack's signature: HMAC-SHA256 over version,
// time and body, with a time that is not long ago.
func (k *Clicks) verify(header http.Header, body []byte) error {
	stamp := header.Get("X-Slack-Request-Timestamp")
	mac := hmac.New(sha256.New, []byte(k.SigningSecret))
	fmt.Fprintf(mac, "%s:%s:", version, stamp)
	mac.Write(body)
	want := version + "=" + hex.EncodeToString(mac.Sum(nil))
	if !hmac.Equal([]byte(header.Get("X-Slack-Signature")), []byte(want)) {
		return errors.New("this is not signed with the app's signing secret (chat.slack.signing_secret)")
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return errors.New("the signature's time is none")
	}
	if age := k.Now().Sub(time.Unix(seconds, 0)).Abs(); age > window {
		return fmt.Errorf("the signature's time and our clock are %s apart, more than %s", age.Round(time.Second), window)
	}
	return nil
}
