package mail

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// looksEncoded finds what a reader would take for an encoded word (RFC 2047 §2).
var looksEncoded = regexp.MustCompile(`=\?[^? ]+\?[BbQq]\?[^? ]*\?=`)

// maxEncodedWord bounds an encoded word, in characters. RFC 2047 §2 allows 75;
// shorter ones let the first stand on one line with the field's name, which some
// readers want.
const maxEncodedWord = 60

// encodedWords writes text as encoded words with spaces between, at which a header
// may be folded, in Q or in B. No character is torn.
func encodedWords(s string) string {
	const frame = len("=?utf-8?q?") + len("?=")
	q := quotes(len(qEncoded(s)), base64Size(len(s)))
	var out strings.Builder
	for s != "" {
		n, room := 0, maxEncodedWord-frame
		for n < len(s) {
			_, width := utf8.DecodeRuneInString(s[n:])
			size := base64.StdEncoding.EncodedLen(n + width)
			if q {
				size = len(qEncoded(s[:n+width]))
			}
			if size > room {
				break
			}
			n += width
		}
		if out.Len() > 0 {
			out.WriteByte(' ')
		}
		if q {
			out.WriteString("=?utf-8?q?" + qEncoded(s[:n]) + "?=")
		} else {
			out.WriteString("=?utf-8?b?" + base64.StdEncoding.EncodeToString([]byte(s[:n])) + "?=")
		}
		s = s[n:]
	}
	return out.String()
}

// qEncoded writes text in the Q encoding (RFC 2047 §4.2), and leaves what may stand
// in a phrase too as it is (§5).
func qEncoded(s string) string {
	var out strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ':
			out.WriteByte('_')
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("!*+-/", c) >= 0:
			out.WriteByte(c)
		default:
			fmt.Fprintf(&out, "=%02X", c)
		}
	}
	return out.String()
}
