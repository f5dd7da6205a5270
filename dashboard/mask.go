package dashboard

import (
	"regexp"

	"github.com/postrider/postrider/internal/auth"
)

// mailAddress finds addresses in text, generously: a local part may be quoted
// (RFC 5321 section 4.1.2), and the @ written as in a URL.
var mailAddress = regexp.MustCompile(`("[^"]*"|[^\s"<>(),:;@]+)(?:@|%40)([^\s"'<>(),:;@]+)`)

// mask hides the local part of every mail address: u***@example.com.
func mask(text string) string {
	return mailAddress.ReplaceAllStringFunc(text, func(address string) string {
		parts := mailAddress.FindStringSubmatch(address)
		first := []rune(parts[1])[0]
		return string(first) + "***@" + parts[2]
	})
}

// shown is text as the user may see it.
func shown(u auth.User, text string) string {
	if u.Admin() {
		return text
	}
	return mask(text)
}
