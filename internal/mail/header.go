package mail

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	gomail "github.com/wneessen/go-mail"
)

// ownHeaders are written by Build, by servers on the way or by a signer: a
// caller's value would double, forge or break them.
var ownHeaders = map[string]bool{
	"bcc": true, "cc": true, "date": true, "dkim-signature": true, "from": true,
	"message-id": true, "mime-version": true, "received": true, "reply-to": true,
	"return-path": true, "sender": true, "subject": true, "to": true,
}

const maxHeaderName = 76

// setHeaders adds the caller's headers, and those by which the reader can
// unsubscribe with one click (RFC 8058 §3.1). Who brings a List-Unsubscribe of
// their own sees to it themselves.
func setHeaders(msg *gomail.Msg, m Message) error {
	headers := m.Headers
	seen := make(map[string]bool, len(headers))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if err := checkHeaderName(name); err != nil {
			return err
		}
		lower := strings.ToLower(name)
		if seen[lower] {
			return fmt.Errorf("headers has %s twice", name)
		}
		seen[lower] = true
		value, err := headerText("headers."+name, headers[name])
		if err != nil {
			return err
		}
		if !isASCII(value) {
			value = encodedWords(value)
		}
		msg.SetGenHeader(gomail.Header(name), value)
	}
	if m.UnsubscribeURL == "" || seen["list-unsubscribe"] || seen["list-unsubscribe-post"] {
		return nil
	}
	link, err := headerText("unsubscribe_url", "<"+m.UnsubscribeURL+">")
	if err != nil {
		return err
	}
	msg.SetGenHeader("List-Unsubscribe", link)
	msg.SetGenHeader("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
	return nil
}

func checkHeaderName(name string) error {
	// RFC 5322 §3.6.8: printable ASCII but the colon.
	invalid := func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }
	if name == "" || len(name) > maxHeaderName || strings.ContainsFunc(name, invalid) {
		return fmt.Errorf("headers has a name that is not 1 to %d printable ASCII characters without a colon", maxHeaderName)
	}
	lower := strings.ToLower(name)
	if ownHeaders[lower] || strings.HasPrefix(lower, "content-") || strings.HasPrefix(lower, "resent-") {
		return fmt.Errorf("headers must not hold %s, which is written for you", name)
	}
	return nil
}

// headerText checks a value on its way into a header: valid UTF-8, no control
// character, no word too long to fold. Runs of white space become one space,
// since go-mail folds at every space and a folded line of nothing but white
// space may be taken for the end of the headers.
func headerText(field, s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("%s is not valid UTF-8", field)
	}
	if strings.ContainsFunc(s, isControl) {
		return "", fmt.Errorf("%s has a control character, such as a line break", field)
	}
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' })
	for _, word := range words {
		if len(word) > maxWord && isASCII(word) {
			return "", fmt.Errorf("%s has a word of more than %d characters", field, maxWord)
		}
	}
	return strings.Join(words, " "), nil
}

// isControl tells the characters that have no place in a header; a tab is
// white space there.
func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
