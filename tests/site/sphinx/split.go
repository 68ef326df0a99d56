package sphinx

import "github.com/understudy-dr/understudy/tests/site/audio"

// The engine counts time in frames of 10 ms.
const (
	frame          = audio.Rate / 100
	framesASecond  = 100
	quiet          = 0.007 // root mean square of a frame without speech: -43 dB
	pauseFrames    = 30    // a pause between two utterances lasts at least this
	marginFrames   = 15    // kept on both sides, for the breath of an f or an s
	longestSegment = 30 * framesASecond
)

// span is a stretch of audio, in frames; the end is not part of it.
type span struct{ from, to int }

// split finds where somebody speaks, and cuts at the pauses. A voice without a
// pause is cut after 30 s, for the engine holds all of an utterance in memory.
func split(clip audio.Clip) []span {
	var spans []span
	total := (len(clip) + frame - 1) / frame
	for i := range total {
		if clip[i*frame:min((i+1)*frame, len(clip))].Loudness() < quiet {
			continue
		}
		last := len(spans) - 1
		if last < 0 || i-spans[last].to > pauseFrames || i-spans[last].from >= longestSegment {
			spans = append(spans, span{from: i})
			last++
		}
		spans[last].to = i + 1
	}
	for i := range spans {
		spans[i].from = max(0, spans[i].from-marginFrames)
		spans[i].to = min(total, spans[i].to+marginFrames)
	}
	return spans
}
