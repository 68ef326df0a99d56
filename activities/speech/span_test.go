package speech_test

import (
	"math"
	"reflect"
	"testing"

	"github.com/understudy-dr/understudy/activities/speech"
)

func TestMerge(t *testing.T) {
	parted := []speech.Span{{Start: 0, End: 10}, {Start: 10, End: 15}}
	overlapping := []speech.Span{{Start: 0, End: 10}, {Start: 8, End: 15}}
	for _, tt := range []struct {
		name   string
		spans  []speech.Span
		pieces []speech.Transcript
		want   speech.Transcript
	}{
		{"one piece", parted[:1], []speech.Transcript{{Text: " One. ", Language: "en", Duration: 9}},
			speech.Transcript{Text: "One.", Language: "en", Duration: 10}},
		{"cut in a silence: the texts stay as the service wrote them", parted,
			[]speech.Transcript{
				{Text: "1 2", Segments: []speech.Segment{{End: 4, Text: "one two"}}},
				{Text: "3", Language: "en", Segments: []speech.Segment{{Start: 1.0001, End: 2, Text: "three", Words: []speech.Word{{Word: "three", Start: 1, End: 2}}}}}},
			speech.Transcript{Text: "1 2 3", Language: "en", Duration: 15, Segments: []speech.Segment{
				{End: 4, Text: "one two"}, {ID: 1, Start: 11, End: 12, Text: "three", Words: []speech.Word{{Word: "three", Start: 11, End: 12}}}}}},
		{"overlap, parted by times", overlapping,
			[]speech.Transcript{
				{Text: "one two too", Segments: []speech.Segment{{End: 5, Text: "one"}, {Start: 6, End: 8.5, Text: "two"}, {Start: 9, End: 10, Text: "too"}}},
				{Text: "wo to three", Segments: []speech.Segment{{End: 0.5, Text: "wo"}, {Start: 1, End: 2, Text: "to"}, {Start: 4, End: 5, Text: "three"}}}},
			speech.Transcript{Text: "one two to three", Duration: 15, Segments: []speech.Segment{
				{End: 5, Text: "one"}, {ID: 1, Start: 6, End: 8.5, Text: "two"}, {ID: 2, Start: 9, End: 10, Text: "to"}, {ID: 3, Start: 12, End: 13, Text: "three"}}}},
		{"overlap, parted by words", overlapping,
			[]speech.Transcript{{Text: "one two, three four"}, {Text: "Three four. Five six"}},
			speech.Transcript{Text: "one two, three four Five six", Duration: 15}},
		{"overlap in a script without spaces", overlapping,
			[]speech.Transcript{{Text: "欢迎使用语音识别"}, {Text: "语音识别。系统"}},
			speech.Transcript{Text: "欢迎使用语音识别系统", Duration: 15}},
		{"overlap and nothing in common", overlapping,
			[]speech.Transcript{{Text: "one two"}, {Text: "three"}}, speech.Transcript{Text: "one two three", Duration: 15}},
		{"a seam in the middle of a word is none", overlapping,
			[]speech.Transcript{{Text: "the one"}, {Text: "one-hundredth onerous"}}, speech.Transcript{Text: "the one hundredth onerous", Duration: 15}},
		{"letters alike by chance", overlapping,
			[]speech.Transcript{{Text: "to be"}, {Text: "between"}}, speech.Transcript{Text: "to be between", Duration: 15}},
		{"silence", parted, []speech.Transcript{{}, {Text: "one"}}, speech.Transcript{Text: "one", Duration: 15}},
	} {
		if got := speech.Merge(tt.spans, tt.pieces); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.name, got, tt.want)
		}
	}
}

func TestCheckSpans(t *testing.T) {
	for _, good := range [][]speech.Span{{{0, 1}}, {{0, 1}, {1, 2}}, {{0, 2}, {1, 3}}} {
		if err := speech.CheckSpans(good); err != nil {
			t.Errorf("%v: %v", good, err)
		}
	}
	for _, bad := range [][]speech.Span{nil, {{1, 2}}, {{0, 0}}, {{0, 1}, {1.5, 2}}, {{0, 2}, {1, 2}}, {{0, 1}, {0, 2}}, {{0, math.NaN()}}, {{0, math.Inf(1)}}, {{-1, 1}}} {
		if speech.CheckSpans(bad) == nil {
			t.Errorf("%v passes", bad)
		}
	}
}
