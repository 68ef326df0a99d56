package speech

import (
	"fmt"
	"strings"
	"unicode"
)

// muchMore bounds the comparison: of a text that is so many times longer than
// the expected one, the rest only counts as words too many.
const muchMore = 4

// WER is the word error rate: how many words must be put in, taken out or
// replaced to make the expected text of the one that was got, divided by the
// number of words expected. 0 is perfect, 1 as bad as silence; much noise gives
// more than 1.
//
// Case and punctuation do not count, nor does the full width of East Asian
// letters and digits. Words are runs of letters, digits and their marks; an
// apostrophe within one is left out. Chinese characters and Japanese kana have
// no blanks between words, so each counts as a word by itself. A digit and its
// name are different words: "3" is not "three".
func WER(expect, got string) float64 {
	want, have := wordsOf(expect), wordsOf(got)
	if len(want) == 0 {
		return float64(min(len(have), 1))
	}
	tooMany := 0
	if limit := muchMore*len(want) + 64; len(have) > limit {
		tooMany = len(have) - limit
		have = have[:limit]
	}
	return float64(edits(want, have)+tooMany) / float64(len(want))
}

// CheckTranscript compares what was heard with what is said in the audio; the
// error tells both and the word error rate.
func CheckTranscript(expect, heard string, maxWER float64) (float64, error) {
	rate := WER(expect, heard)
	if rate <= maxWER {
		return rate, nil
	}
	return rate, fmt.Errorf("expected %q, heard %q, word error rate %.2g > %.2g", quote(expect), quote(heard), rate, maxWER)
}

func wordsOf(text string) []string {
	var all []string
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			all = append(all, word.String())
			word.Reset()
		}
	}
	for _, r := range text {
		if r >= '！' && r <= '～' { // full width, in the order of ASCII
			r += '!' - '！'
		}
		switch {
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana):
			end()
			all = append(all, string(r))
		case unicode.IsLetter(r), unicode.IsNumber(r), unicode.IsMark(r):
			word.WriteRune(unicode.ToLower(r))
		case r == '\'' || r == '’':
		default:
			end()
		}
	}
	end()
	return all
}

// edits is the Levenshtein distance in words.
func edits(a, b []string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j := range b {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j]+1, row[j+1]+1, replaced)
		}
	}
	return row[len(b)]
}
