package chunk

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/understudy-dr/understudy/activities/speech"
)

// line is a recording: pairs of seconds and loudness.
func line(parts ...float64) (loudness []float32, total float64) {
	for i := 0; i < len(parts); i += 2 {
		for range int(parts[i] * windows) {
			loudness = append(loudness, float32(parts[i+1]))
		}
		total += parts[i]
	}
	return loudness, total
}

func TestPlan(t *testing.T) {
	for _, tt := range []struct {
		name  string
		parts []float64
		limit float64
		want  []speech.Span
	}{
		{"short enough", []float64{10, 0.5}, 10, []speech.Span{{Start: 0, End: 10}}},
		{"one pause", []float64{8, 0.5, 1, 0, 6, 0.5}, 10, []speech.Span{{Start: 0, End: 8.8}, {Start: 8.8, End: 15}}},
		{"the longer pause", []float64{6, 0.5, 1, 0, 2, 0.5, 0.5, 0, 6, 0.5}, 10, []speech.Span{{Start: 0, End: 6.8}, {Start: 6.8, End: 15.5}}},
		{"the later one of two alike", []float64{6, 0.5, 1, 0, 1, 0.5, 1, 0, 4, 0.5}, 10, []speech.Span{{Start: 0, End: 8.8}, {Start: 8.8, End: 13}}},
		{"a pause in the first half is too early", []float64{3, 0.5, 1, 0, 11, 0.5}, 10, []speech.Span{{Start: 0, End: 10}, {Start: 9, End: 15}}},
		{"the stop of a consonant is no pause", []float64{8, 0.5, 0.2, 0, 6, 0.5}, 10, []speech.Span{{Start: 0, End: 10}, {Start: 9, End: 14.2}}},
		{"a noisy line", []float64{8, 0.5, 1, 0.05, 6, 0.5}, 10, []speech.Span{{Start: 0, End: 10}, {Start: 9, End: 15}}},
		{"a noisy line with many pauses", []float64{2, 0.5, 2, 0.05, 4, 0.5, 1, 0.06, 6, 0.5}, 10, []speech.Span{{Start: 0, End: 8.8}, {Start: 8.8, End: 15}}},
		{"no pauses at all", []float64{26, 0.5}, 10, []speech.Span{{Start: 0, End: 10}, {Start: 9, End: 19}, {Start: 18, End: 26}}},
		{"silence", []float64{25, 0}, 10, []speech.Span{{Start: 0, End: 9.8}, {Start: 9.8, End: 19.6}, {Start: 19.6, End: 25}}},
		{"nothing", nil, 10, []speech.Span{{Start: 0, End: 0}}},
	} {
		loudness, total := line(tt.parts...)
		if got := plan(loudness, total, tt.limit); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Whatever the sound is like, the pieces cover it and none is too long.
func TestPlanCoversEverything(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var parts []float64
		for range 1 + r.IntN(20) {
			parts = append(parts, float64(r.IntN(500))/windows, float64(r.IntN(3))/4)
		}
		loudness, total := line(parts...)
		if total == 0 {
			continue
		}
		limit := 1 + 9*r.Float64()
		spans := plan(loudness, total, limit)
		if err := speech.CheckSpans(spans); err != nil || spans[len(spans)-1].End != total {
			t.Fatalf("%v: %v of %v s, %v", parts, spans, total, err)
		}
		for _, s := range spans {
			if s.End-s.Start > limit+0.001 {
				t.Fatalf("%v: %v is longer than %v", parts, s, limit)
			}
		}
	}
}
