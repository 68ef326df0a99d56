package sphinx

import (
	"slices"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/tests/site/audio"
)

func TestSplit(t *testing.T) {
	tone := func(d time.Duration) audio.Clip {
		clip := audio.Silence(d)
		for i := range clip {
			clip[i] = int16(3000 * (i%2*2 - 1))
		}
		return clip
	}
	const second = time.Second
	cases := []struct {
		name string
		clip audio.Clip
		want []span
	}{
		{"nothing", nil, nil},
		{"silence", audio.Silence(2 * second), nil},
		{"one voice", slices.Concat(audio.Silence(second), tone(second), audio.Silence(second)), []span{{85, 215}}},
		{"no room for margins", tone(second), []span{{0, 100}}},
		{"a breath is no pause", slices.Concat(tone(second), audio.Silence(second/4), tone(second)), []span{{0, 225}}},
		{"a pause", slices.Concat(tone(second), audio.Silence(second), tone(second)), []span{{0, 115}, {185, 300}}},
		{"no pause for long", tone(31 * second), []span{{0, 3015}, {2985, 3100}}},
		{"half a frame", tone(second)[:frame/2], []span{{0, 1}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := split(c.clip); !slices.Equal(got, c.want) {
				t.Errorf("split into %v, want %v", got, c.want)
			}
		})
	}
}
