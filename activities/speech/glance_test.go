package speech_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/activities/speech"
	"github.com/understudy-dr/understudy/activities/speech/speechtest"
)

func TestGlance(t *testing.T) {
	tone := speechtest.Tone()
	withList := append(append(bytes.Clone(tone[:36]), "LIST\x05\x00\x00\x00abcde\x00"...), tone[36:]...)
	streamed := bytes.Clone(tone)
	copy(streamed[40:], "\xff\xff\xff\xff")
	for _, tt := range []struct {
		name, says string
		file       []byte
		want       float64
	}{
		{name: "WAV", file: tone, want: 1},
		{name: "WAV with other chunks", file: withList, want: 1},
		{name: "WAV by a writer that streams", file: streamed, want: 1},
		{name: "WAV cut off in its data", file: tone[:44+16000], want: 0.5},
		{name: "WAV without a sound", file: tone[:44], says: "length of 0 s"},
		{name: "WAV cut off in its header", file: tone[:40], says: "no data"},
		{name: "another format", file: []byte("ID3\x04\x00\x00\x00\xff\xfb\x90"), want: 0},
		{name: "empty", says: "empty"},
		{name: "text", file: []byte("<html>not found"), says: "not found"},
		{name: "long text", file: []byte(strings.Repeat("语音 ", 1000)), says: "it is text"},
	} {
		got, err := speech.Glance(bytes.NewReader(tt.file), int64(len(tt.file)))
		switch {
		case tt.says == "" && (err != nil || math.Abs(got-tt.want) > 1e-9):
			t.Errorf("%s: %v, %v; want %v", tt.name, got, err, tt.want)
		case tt.says != "" && (!errors.Is(err, speech.ErrItem) || !strings.Contains(err.Error(), tt.says)):
			t.Errorf("%s: %v, want an ErrItem that says %q", tt.name, err, tt.says)
		}
	}
}
