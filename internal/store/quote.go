package store

import (
	"encoding/base64"
	"fmt"
	netmail "net/mail"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/delivery"
)

// quotes finds in texts what gives a person away: the address as it is, within
// URLs (percent-encoded), mails (quoted-printable, RFC 2045 section 6.7), return
// paths and JSON, in any mixture, and all that again within base64.
type quotes struct {
	any   *regexp.Regexp
	forms []string
}

func newQuotes(p delivery.Person) (quotes, error) {
	forms := make([]string, len(p.Forms))
	for i, form := range p.Forms {
		chars := make([]string, 0, len(form))
		for _, r := range form {
			chars = append(chars, spellings(r))
		}
		forms[i] = strings.Join(chars, softBreak+"?")
	}
	pattern, err := regexp.Compile("(?i)" + strings.Join(forms, "|"))
	if err != nil {
		return quotes{}, fmt.Errorf("writing a pattern: %w", err)
	}
	return quotes{pattern, p.Forms}, nil
}

// softBreak is where quoted-printable goes on in the next line, as it is and
// within JSON.
const softBreak = `(?:=(?:\r?\n|\\r\\n|\\n))`

// spellings are the ways to write a character, as a pattern.
func spellings(r rune) string {
	out := regexp.QuoteMeta(string(r))
	if r == '@' {
		out += "|=" // in a return path (VERP)
	}
	for _, r := range slices.Compact([]rune{r, unicode.ToUpper(r)}) {
		out += "|"
		for _, b := range []byte(string(r)) {
			out += fmt.Sprintf("[%%=]%02x", b)
		}
		if r < 0x10000 {
			out += fmt.Sprintf(`|\\u%04x`, r)
		}
	}
	return "(?:" + out + ")"
}

// layers is how deep texts within base64 are looked into: a mail in a webhook in
// a job is three deep.
const layers = 4

// erase replaces what is the person's. An address that only ends or begins like
// the person's is another's: joann@example.com is not ann@example.com.
func (q quotes) erase(text string) string { return q.eraseWithin(text, layers) }

func (q quotes) eraseWithin(text string, deep int) string {
	text = q.eraseHere(text)
	if deep == 0 {
		return text
	}
	return base64Run.ReplaceAllStringFunc(text, func(run string) string { return q.eraseRun(run, deep-1) })
}

func (q quotes) eraseHere(text string) string {
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

// is reports whether a text is the person's address and nothing else, with or
// without a name before it.
func (q quotes) is(text string) bool {
	a, err := netmail.ParseAddress(text)
	return err == nil && slices.ContainsFunc(q.forms, func(form string) bool { return strings.EqualFold(form, a.Address) })
}

// base64Run may be base64, in lines or in one, of what is no shorter than an
// address.
var base64Run = regexp.MustCompile(`[A-Za-z0-9+/_-]{8,}(?:` + lineBreak + `[A-Za-z0-9+/_-]+)*={0,2}`)

const lineBreak = `(?:\r?\n|\\r\\n|\\n)`

var lineBreaks = regexp.MustCompile(lineBreak)

// base64Line is how long a line of MIME's base64 is (RFC 2045 section 6.8).
const base64Line = 76

// eraseRun replaces what is the person's within a run of base64. Where that
// begins is tried: what stands before it may look like base64, too.
func (q quotes) eraseRun(run string, deep int) string {
	whole := lineBreaks.ReplaceAllString(run, "")
	bare := strings.TrimRight(whole, "=")
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(bare, "-_") {
		encoding = base64.RawURLEncoding
	}
	for skip := range min(4, len(bare)) {
		chars := bare[skip:]
		if len(chars)%4 == 1 { // of which nothing can be made
			chars = chars[:len(chars)-1]
		}
		text, err := encoding.DecodeString(chars)
		if err != nil {
			return run
		}
		erased := q.eraseWithin(string(text), deep)
		if erased == string(text) {
			continue
		}
		if (len(whole)-skip)%4 == 0 { // as with padding, if it needed some
			encoding = encoding.WithPadding(base64.StdPadding)
		}
		return wrapped(bare[:skip]+encoding.EncodeToString([]byte(erased)), lineBreaks.FindString(run))
	}
	return run
}

// wrapped is base64 in lines, where it was in lines before.
func wrapped(text, ending string) string {
	if ending == "" {
		return text
	}
	var lines []string
	for line := range slices.Chunk([]byte(text), base64Line) {
		lines = append(lines, string(line))
	}
	return strings.Join(lines, ending)
}

// escape is a character as JSON, a URL or quoted-printable writes it: its letters
// are no part of an address that follows.
var escape = regexp.MustCompile(`(\\[bfnrt]|\\u[0-9A-Fa-f]{4}|%[0-9A-Fa-f]{2}|=[0-9A-F]{2})$`)

const longestEscape = len(`\u003c`)

var (
	softBreaks  = regexp.MustCompile(softBreak)
	endsSoftly  = regexp.MustCompile(softBreak + "$")
	beginSoftly = regexp.MustCompile("^" + softBreak)
)

const longestBreak = len(`=\r\n`)

// begun reports whether an address has begun already before the quote. Of what
// a local part may have, only what is usual there counts.
func begun(before, quote string) bool {
	tail := before[max(0, len(before)-longestBreak-longestEscape):]
	tail = endsSoftly.ReplaceAllString(tail, "")
	inside := "._+-"
	if returnPath(quote) {
		inside = "._" // it follows the others
	}
	last, _ := utf8.DecodeLastRuneInString(tail)
	if !alphanumeric(last) && !strings.ContainsRune(inside, last) {
		return false
	}
	return !escape.MatchString(tail[max(0, len(tail)-longestEscape):])
}

// returnPath reports whether the quote has the = of a return path.
func returnPath(quote string) bool {
	quote = softBreaks.ReplaceAllString(quote, "")
	return !strings.ContainsAny(quote, "@%\\") && strings.Contains(quote, "=") && !strings.Contains(quote, "=40")
}

// goesOn reports whether the domain goes on behind the quote.
func goesOn(after string) bool {
	after = beginSoftly.ReplaceAllString(after[:min(len(after), longestBreak+2*utf8.UTFMax)], "")
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
