package mail

import (
	"fmt"
	netmail "net/mail"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

// Bounds of an address in octets: RFC 5321 §4.5.3.1.1 for the local part; 254
// is what the path of §4.5.3.1.3 leaves without its angle brackets.
const (
	maxLocalPart = 64
	maxAddress   = 254
)

// parseMailbox reads one RFC 5322 mailbox (`a@b` or `Name <a@b>`) and returns
// it with its domain in ASCII (RFC 5891). Errors name the field and do not
// quote the value: addresses stay out of logs.
func parseMailbox(field, s string) (*netmail.Address, error) {
	address, err := netmail.ParseAddress(s)
	if err != nil {
		return nil, fmt.Errorf("%s is not a mail address", field)
	}
	at := strings.LastIndexByte(address.Address, '@')
	local, domain := address.Address[:at], address.Address[at+1:]
	// Allowed when quoted, used by nobody, and a gift to those who smuggle.
	if strings.ContainsFunc(local, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return nil, fmt.Errorf("%s has white space or a control character in its address", field)
	}
	if !isASCII(domain) {
		if domain, err = idna.Lookup.ToASCII(domain); err != nil {
			return nil, fmt.Errorf("%s has a domain that is not valid", field)
		}
	}
	if len(local) > maxLocalPart || len(local)+1+len(domain) > maxAddress {
		return nil, fmt.Errorf("%s is longer than an address may be", field)
	}
	address.Address = local + "@" + domain
	if address.Name, err = headerText(field, address.Name); err != nil {
		return nil, err
	}
	return address, nil
}

// path is the address as MAIL FROM and RCPT TO want it: in angle brackets, the
// local part quoted where it must be (RFC 5321 §4.1.2).
func path(address *netmail.Address) string {
	return (&netmail.Address{Address: address.Address}).String()
}

func domainOf(address *netmail.Address) string {
	return address.Address[strings.LastIndexByte(address.Address, '@')+1:]
}

func isASCII[S string | []byte](s S) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// Normalise is the form of an address by which people are told apart: without a
// display name, in lower case, its domain in ASCII. Domains are told apart so by
// definition, and of local parts no provider in use does otherwise. The error
// does not quote the address.
func Normalise(address string) (string, error) {
	mailbox, err := parseMailbox("the address", address)
	if err != nil {
		return "", err
	}
	return strings.ToLower(mailbox.Address), nil
}
