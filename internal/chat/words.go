package chat

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxWord  = 64 // bytes; of a longer one the beginning counts
	maxWords = 1000
)

// unspaced are scripts that put no spaces between words: each of their letters is
// one.
var unspaced = []*unicode.RangeTable{unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar}

// Words are what a text can be found by: its words in lower case, each once, in
// order; letters, marks and digits are in words, everything else is between them.
func Words(text string) []string {
	var out []string
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			out = append(out, word.String())
			word.Reset()
		}
	}
	for _, r := range text {
		r = unicode.ToLower(r)
		switch {
		case r == utf8.RuneError || !unicode.In(r, unicode.Letter, unicode.Mark, unicode.Digit):
			end()
		case unicode.In(r, unspaced...):
			end()
			out = append(out, string(r))
		case word.Len()+utf8.RuneLen(r) <= maxWord:
			word.WriteRune(r)
		}
	}
	end()
	slices.Sort(out)
	out = slices.Compact(out)
	return out[:min(len(out), maxWords)]
}

// hasWords reports whether a text has all of these words.
func hasWords(text string, words []string) bool {
	has := Words(text)
	for _, w := range words {
		if _, ok := slices.BinarySearch(has, w); !ok {
			return false
		}
	}
	return true
}
