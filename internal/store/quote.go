package store

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/delivery"
)

// quotes finds in texts what gives a person away.
type quotes struct{ any *regexp.Regexp }

func newQuotes(p delivery.Person) (quotes, error) {
	forms := make([]string, len(p.Quotes))
	for i, q := range p.Quotes {
		forms[i] = regexp.QuoteMeta(q)
	}
	pattern, err := regexp.Compile("(?i)" + strings.Join(forms, "|"))
	if err != nil {
		return quotes{}, fmt.Errorf("writing a pattern: %w", err)
	}
	return quotes{pattern}, nil
}

// erase replaces what is the person's. An address that only ends or begins like
// the person's is another's: joann@example.com is not ann@example.com.
func (q quotes) erase(text string) string {
	var out strings.Builder
	done := 0
	for _, at := range q.any.FindAllStringIndex(text, -1) {
		if begun(text[:at[0]], text[at[0]:at[1]]) || goesOn(text[at[1]:]) {
			continue
		}
		out.WriteString(text[done:at[0]])
		out.WriteString(delivery.Erased)
		done = at[1]
	}
	out.WriteString(text[done:])
	return out.String()
}

// escape is a character as JSON or a URL writes it: its letters are no part of
// an address that follows.
var escape = regexp.MustCompile(`(\\[bfnrt]|\\u[0-9A-Fa-f]{4}|%[0-9A-Fa-f]{2})$`)

const longestEscape = len(`\u003c`)

// begun reports whether an address has begun already before the quote. Of what
// a local part may have, only what is usual there counts.
func begun(before, quote string) bool {
	inside := "._+-"
	if !strings.Contains(quote, "@") && strings.Contains(quote, "=") {
		inside = "._" // in a return path it follows the others
	}
	last, _ := utf8.DecodeLastRuneInString(before)
	if !alphanumeric(last) && !strings.ContainsRune(inside, last) {
		return false
	}
	return !escape.MatchString(before[max(0, len(before)-longestEscape):])
}

// goesOn reports whether the domain goes on behind the quote.
func goesOn(after string) bool {
	next, n := utf8.DecodeRuneInString(after)
	if next == '.' {
		next, _ = utf8.DecodeRuneInString(after[n:])
		return alphanumeric(next)
	}
	return alphanumeric(next) || next == '-'
}

func alphanumeric(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
}
