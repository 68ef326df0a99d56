package speech_test

import (
	"math"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/activities/speech"
)

func TestWER(t *testing.T) {
	for _, tt := range []struct {
		expect, got string
		want        float64
	}{
		{"one two three", "one two three", 0},
		{"One, two - THREE!", " one two\nthree. ", 0},
		{"one two three four", "one two four", 0.25},           // one left out
		{"one two three four", "one two two three four", 0.25}, // one too many
		{"one two three four", "one too three four", 0.25},     // one replaced
		{"one two", "", 1},
		{"one two", "what a lot of noise", 2.5},
		{"", "", 0},
		{"", "noise", 1},
		{"...", "!", 0},
		{"don't stop", "dont stop", 0},
		{"don’t stop", "don't stop", 0},
		{"3", "three", 1},
		{"room 101", "room 101.", 0},
		{"欢迎使用语音合成服务", "欢迎使用语音合成服务。", 0},
		{"欢迎使用语音合成服务", "欢迎 使用，语音 合成 服务", 0},
		{"欢迎使用语音合成服务", "欢迎用语音合成服务", 0.1},
		{"使用 Fun-ASR 转写", "使用 fun asr 转写", 0},
		{"ＡＢＣ１２３", "abc123", 0},
		{"ひらがなカタカナ", "ひらがなカタカタ", 0.125},
		{"Ünder naïve", "ünder naïve", 0},
	} {
		if got := speech.WER(tt.expect, tt.got); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("WER(%q, %q) = %v, want %v", tt.expect, tt.got, got, tt.want)
		}
	}
}

// A server that never stops talking must not keep the judge busy.
func TestWEROfVeryMuch(t *testing.T) {
	expect := strings.Repeat("one two three four five ", 200)
	if got := speech.WER(expect, strings.Repeat("noise ", 2_000_000)); got < 1000 {
		t.Errorf("WER = %v", got)
	}
	if got := speech.WER(expect, expect+"and more"); got > 0.01 {
		t.Errorf("WER = %v", got)
	}
}

func TestCheckTranscript(t *testing.T) {
	if rate, err := speech.CheckTranscript("one two three four", "one two three", 0.25); err != nil || rate != 0.25 {
		t.Errorf("at the limit: %v, %v", rate, err)
	}
	_, err := speech.CheckTranscript("one two three four", "two\x1b three", 0.1)
	if err == nil || err.Error() != `expected "one two three four", heard "two. three", word error rate 0.5 > 0.1` {
		t.Errorf("%v", err)
	}
}
