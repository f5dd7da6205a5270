package mail

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/postrider/postrider/internal/tlsfile"
)

// tlsMode says when a connection is encrypted.
type tlsMode int

const (
	tlsNone     tlsMode = iota
	tlsOptional         // STARTTLS if offered
	tlsRequired         // STARTTLS or nothing
	tlsImplicit         // TLS from the first byte (RFC 8314 §3)
)

// server is where and how a provider is reached.
//
// The port is 587 for smtp and 465 for smtps when left out. Without tls= a
// STARTTLS is required, except to a loopback host, where it is optional. With
// optional a STARTTLS is used when offered and its certificate checked only if
// a password follows, or ca= says by whom: who could forge it could as well
// strip the offer.
// Credentials never travel unencrypted, except to a loopback host.
type server struct {
	host, port     string
	user, password string
	mode           tlsMode
	loopback       bool
	files          tlsfile.Client // for TLS
}

func (s server) addr() string { return net.JoinHostPort(s.host, s.port) }

// parseServer reads all of a URL but its query, of which tls is the mode asked
// for and files is the rest that is about TLS. Its errors quote nothing of the value: a password with an unescaped
// character may turn up in any part of it.
func parseServer(u *url.URL, tls string, files tlsfile.Client) (server, error) {
	if strings.Trim(u.Path, "/") != "" || u.Fragment != "" {
		return server{}, errors.New("must have nothing after the port but ?…; write / and # in user and password as %2F and %23")
	}
	s := server{host: u.Hostname(), port: u.Port(), user: u.User.Username(), files: files}
	s.password, _ = u.User.Password()
	if s.user == "" && s.password != "" {
		return server{}, errors.New("has a password but no user")
	}
	if strings.ContainsAny(s.user+s.password, "\x00\r\n") {
		return server{}, errors.New("must have no control characters in user and password")
	}
	if s.port != "" {
		if n, err := strconv.ParseUint(s.port, 10, 16); err != nil || n == 0 {
			return server{}, errors.New("must have a port of 1 to 65535")
		}
	}
	s.loopback = isLoopback(s.host)
	switch u.Scheme {
	case "smtps":
		if tls != "" {
			return server{}, errors.New("must not have tls= with smtps://, which is always encrypted")
		}
		s.mode = tlsImplicit
		s.port = orDefault(s.port, "465")
	case "smtp":
		s.port = orDefault(s.port, "587")
		var err error
		if s.mode, err = startTLSMode(tls, s.loopback); err != nil {
			return server{}, err
		}
	default:
		return server{}, errors.New("must begin with smtp:// or smtps://")
	}
	if s.mode == tlsNone && files != (tlsfile.Client{}) {
		return server{}, errors.New("has tls=none and a parameter for TLS")
	}
	if s.user != "" && s.mode == tlsNone && !s.loopback {
		return server{}, errors.New("has a password and tls=none: a password is sent unencrypted to a loopback host only")
	}
	return s, nil
}

func startTLSMode(value string, loopback bool) (tlsMode, error) {
	switch {
	case value == "starttls" || value == "" && !loopback:
		return tlsRequired, nil
	case value == "optional" || value == "":
		return tlsOptional, nil
	case value == "none":
		return tlsNone, nil
	default:
		return 0, errors.New("must have tls=starttls, tls=optional or tls=none")
	}
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
