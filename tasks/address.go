package tasks

import (
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// parseAddress reads one mail address, with or without a display name, and
// returns it as a header writes it and bare, its domain in lower case and in
// ASCII (RFC 5891): one person has one address. problem is empty when it is
// good. Bounds are RFC 5321 section 4.5.3.1: local part 64, path 254 bytes.
func parseAddress(s string) (full, bare, problem string) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return "", "", "must not be empty"
	case strings.ContainsFunc(s, unicode.IsControl) || !utf8.ValidString(s):
		return "", "", "must not contain control characters or broken UTF-8"
	case len(s) > 512:
		return "", "", "is too long"
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		return "", "", "is not a mail address"
	}
	at := strings.LastIndexByte(a.Address, '@')
	local, domain := a.Address[:at], a.Address[at+1:]
	if len(local) > 64 || len(a.Address) > 254 {
		return "", "", "is longer than a mail address may be"
	}
	if strings.HasPrefix(domain, ".") || strings.HasSuffix(domain, ".") || strings.Contains(domain, "..") {
		return "", "", "has a domain with an empty label"
	}
	if strings.ContainsFunc(a.Address, unicode.IsSpace) {
		return "", "", "must not contain spaces"
	}
	domain = strings.ToLower(domain)
	if strings.ContainsFunc(domain, notASCII) { // others are left to the DNS: they may have what IDNA forbids
		if domain, err = idna.Lookup.ToASCII(domain); err != nil {
			return "", "", "has a domain that is not valid"
		}
	}
	bare = local + "@" + domain
	if len(bare) > 254 {
		return "", "", "is longer than a mail address may be"
	}
	// A local part that must stand in quotes (RFC 5321 section 4.1.2) is bare
	// without them here, and another address or none when it is read again.
	if again, err := mail.ParseAddress(bare); err != nil || again.Address != bare {
		return "", "", "has a local part that needs quotes, which is not supported"
	}
	if a.Name == "" {
		return bare, bare, ""
	}
	return (&mail.Address{Name: a.Name, Address: bare}).String(), bare, ""
}

func notASCII(r rune) bool { return r > unicode.MaxASCII }
