package speech_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/activities/speech"
	"github.com/understudy-dr/understudy/activities/speech/speechtest"
	"github.com/understudy-dr/understudy/tests/harness"
)

// TestInspectRealFiles measures what real programs write, in every format that is understood.
func TestInspectRealFiles(t *testing.T) {
	for name, format := range map[string]string{
		"8 bits":                 "-b 8 -e unsigned-integer",
		"16 bits":                "-b 16 -e signed-integer",
		"24 bits, extensible":    "-b 24 -e signed-integer",
		"32 bits, extensible":    "-b 32 -e signed-integer",
		"floating point":         "-b 32 -e floating-point",
		"double floating point":  "-b 64 -e floating-point",
		"A-law":                  "-e a-law",
		"mu-law":                 "-e mu-law",
		"two channels":           "-b 16 -c 2",
		"six channels, 48 kHz":   "-b 24 -c 6 -r 48000",
		"8 kHz":                  "-r 8000 -b 16",
		"streamed, size unknown": "-b 16 -t wav -",
	} {
		t.Run(name, func(t *testing.T) {
			// A sine at half of the full height: its RMS is 0.5 / sqrt(2).
			tone := sox(t, format, "synth 1.5 sine 440 vol 0.5")
			got, err := speech.Inspect(tone)
			if err != nil || !got.Measured || math.Abs(got.Seconds-1.5) > 0.01 || math.Abs(got.Audible-1.5) > 0.05 || math.Abs(got.RMS-0.3536) > 0.01 {
				t.Errorf("tone: %+v, %v", got, err)
			}
			got, err = speech.Inspect(sox(t, format, "trim 0 2"))
			if err != nil || math.Abs(got.Seconds-2) > 0.01 || got.Audible != 0 {
				t.Errorf("silence: %+v, %v", got, err)
			}
		})
	}
}

func TestInspectParts(t *testing.T) {
	for _, tt := range []struct {
		name, effects string
		audible       float64
	}{
		{"silence before and after", "synth 1 sine 440 pad 2 3", 1},
		{"a short silence before and after", "synth 1 sine 440 pad 0.3 0.3", 1},
		{"a short pause counts as speech", "synth 0.5 sine 440 pad 0.3@0.25", 0.8},
		{"a long pause does not", "synth 0.5 sine 440 pad 2@0.25", 0.5},
		{"a constant is silence", "synth 1 sine 440 vol 0 dcshift 0.5", 0},
		{"a whisper is heard", "synth 1 sine 440 vol 0.01", 1},
		{"the noise of a converter is not", "synth 1 whitenoise vol 0.0005", 0},
	} {
		got, err := speech.Inspect(sox(t, "-b 16", tt.effects))
		if err != nil || math.Abs(got.Audible-tt.audible) > 0.06 {
			t.Errorf("%s: %+v, %v; want %v s audible", tt.name, got, err, tt.audible)
		}
	}
}

// Rounding to 8 bits alone makes noise that would be a whisper in 16.
func TestInspectHearsNoRounding(t *testing.T) {
	const hiss = "synth 1 whitenoise vol 0.006"
	if got, err := speech.Inspect(sox(t, "-b 16", hiss)); err != nil || got.Audible == 0 {
		t.Errorf("16 bits: %+v, %v", got, err)
	}
	if got, err := speech.Inspect(sox(t, "-b 8 -e unsigned-integer", hiss)); err != nil || got.Audible > 0 || got.RMS == 0 {
		t.Errorf("8 bits: %+v, %v", got, err)
	}
}

// sox writes a WAV file; "trim" without an input gives silence.
func sox(t *testing.T, format, effects string) []byte {
	t.Helper()
	program, err := harness.Find("sox", "sox")
	if err != nil {
		t.Skip("missing: " + err.Error())
	}
	file := filepath.Join(t.TempDir(), "a.wav")
	args := append([]string{"-D", "-n", "-r", "16000"}, strings.Fields(format)...)
	if !strings.HasSuffix(format, "-") {
		args = append(args, file)
	}
	var out bytes.Buffer
	cmd := exec.Command(program, append(args, strings.Fields(effects)...)...)
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	if out.Len() > 0 {
		return out.Bytes()
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestInspectOddHeaders(t *testing.T) {
	tone := speechtest.Tone()
	with := func(offset int, bytes ...byte) []byte {
		changed := append([]byte{}, tone...)
		copy(changed[offset:], bytes)
		return changed
	}
	list := append([]byte("LIST\x05\x00\x00\x00INFO!\x00"), tone[12:]...) // a chunk of odd length
	for name, file := range map[string][]byte{
		"as it is":                 tone,
		"no sizes":                 with(40, 0, 0, 0, 0),
		"sizes of a stream":        with(40, 0xff, 0xff, 0xff, 0xff),
		"RIFF size wrong":          with(4, 1, 2, 3, 4),
		"another chunk before":     append(append([]byte{}, tone[:12]...), list...),
		"something behind":         append(append([]byte{}, tone...), "LIST\x04\x00\x00\x00abcd"...),
		"byte rate and align of 0": with(28, 0, 0, 0, 0, 0, 0),
		"half a sample at its end": append(with(40, 0, 0, 0, 0), 7),
	} {
		got, err := speech.Inspect(file)
		if err != nil || math.Abs(got.Seconds-1) > 0.01 || got.Audible < 0.9 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	cut, err := speech.Inspect(tone[:len(tone)/2])
	if err != nil || math.Abs(cut.Seconds-0.5) > 0.01 {
		t.Errorf("cut off: %+v, %v", cut, err)
	}
	nan := with(20, 3, 0)
	binary.LittleEndian.PutUint16(nan[34:], 32)
	binary.LittleEndian.PutUint32(nan[44:], math.Float32bits(float32(math.NaN())))
	for name, file := range map[string][]byte{
		"nothing":              {},
		"text":                 []byte(`{"error":"no voice"}`),
		"RIFF alone":           []byte("RIFF"),
		"RIFF of another kind": []byte("RIFF\x04\x00\x00\x00AVI "),
		"no format":            []byte("RIFF\x04\x00\x00\x00WAVE"),
		"no data":              tone[:36],
		"half a format":        append([]byte("RIFF\x04\x00\x00\x00WAVEfmt \x04\x00\x00\x00"), 1, 0, 1, 0),
		"no channels":          with(22, 0, 0),
		"no rate":              with(24, 0, 0, 0, 0),
		"ADPCM":                with(20, 2, 0),
		"13 bits":              with(34, 13, 0),
		"no numbers":           nan,
		"endless chunk":        append([]byte("RIFF\x04\x00\x00\x00WAVEjunk\xff\xff\xff\xff"), tone[12:]...),
	} {
		if got, err := speech.Inspect(file); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, file := range map[string][]byte{"MP3": []byte("ID3\x04\x00\x00"), "Ogg": []byte("OggS\x00\x02"), "samples alone": {0, 1, 0, 2}} {
		if got, err := speech.Inspect(file); err != nil || got.Measured {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add(speechtest.Tone()[:200])
	f.Add([]byte("RIFF\x04\x00\x00\x00WAVEfmt \x10\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := speech.Inspect(file)
		if err == nil && (got.Seconds < 0 || got.Audible < 0 || got.Audible > got.Seconds+1e-6 || math.IsNaN(got.RMS)) {
			t.Errorf("%+v", got)
		}
	})
}
