// Package tlsfile makes TLS settings of files: a certificate with its key, which
// are read anew when they change, and the authorities that the other side's
// certificate must come from.
package tlsfile

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxFile bounds a file, in bytes, which could be anything.
const maxFile = 1 << 20

// Version is the least version of TLS that is spoken.
type Version uint16

// UnmarshalText reads 1.2 or 1.3.
func (v *Version) UnmarshalText(text []byte) error {
	switch string(text) {
	case "1.2":
		*v = tls.VersionTLS12
	case "1.3":
		*v = tls.VersionTLS13
	default:
		return errors.New("want 1.2 or 1.3") // what is older is not safe (RFC 8996)
	}
	return nil
}

// atLeast is the version; 1.2 for none.
func (v Version) atLeast() uint16 { return max(uint16(v), tls.VersionTLS12) }

// Client is how a server is spoken to: all of it may be left out.
type Client struct {
	CA        string // PEM file of the authorities that are trusted; the system's when empty
	Cert, Key string // PEM files of the certificate to show; both or none
	Name      string // in the server's certificate, when it is not the host's
	Min       Version
}

// Parameters are the names that URLs give a Client's fields in their query.
const Parameters = "ca, cert, key, server_name and min_tls"

// FromQuery reads those parameters, each by text, which returns "" for what is
// not there. Its errors quote nothing.
func FromQuery(text func(name string) string) (c Client, err error) {
	c = Client{CA: text("ca"), Cert: text("cert"), Key: text("key"), Name: text("server_name")}
	if (c.Cert == "") != (c.Key == "") {
		return Client{}, errors.New("must have both cert= and key=, or neither")
	}
	if least := text("min_tls"); least != "" {
		if err := c.Min.UnmarshalText([]byte(least)); err != nil {
			return Client{}, fmt.Errorf("has a wrong min_tls=: %w", err)
		}
	}
	return c, nil
}

// Config reads the files. The certificate is read anew when it changes; the
// authorities are those of the start.
func (c Client) Config() (*tls.Config, error) {
	config := &tls.Config{ServerName: c.Name, MinVersion: c.Min.atLeast()}
	if c.CA != "" {
		roots, err := Authorities(c.CA)
		if err != nil {
			return nil, err
		}
		config.RootCAs = roots
	}
	if c.Cert != "" || c.Key != "" {
		p, err := newPair(c.Cert, c.Key)
		if err != nil {
			return nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.get(), nil }
	}
	return config, nil
}

// Server is what a server shows, and whom it takes.
type Server struct {
	Cert, Key string // PEM files
	ClientCA  string // PEM file of the authorities that clients' certificates must come from; empty asks for none
	Min       Version
}

// Config reads the files. The certificate is read anew when it changes; the
// authorities are those of the start.
func (s Server) Config() (*tls.Config, error) {
	p, err := newPair(s.Cert, s.Key)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		MinVersion:     s.Min.atLeast(),
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.get(), nil },
	}
	if s.ClientCA != "" {
		if config.ClientCAs, err = Authorities(s.ClientCA); err != nil {
			return nil, err
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config, nil
}

// Authorities reads certificates of authorities.
func Authorities(file string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	return pool, AddAuthorities(pool, file)
}

// AddAuthorities reads certificates of authorities into a pool.
func AddAuthorities(pool *x509.CertPool, file string) error {
	text, err := read(file)
	if err != nil {
		return err
	}
	if !pool.AppendCertsFromPEM(text) {
		return fmt.Errorf("the file %s holds no certificate in PEM", file)
	}
	return nil
}

func read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading a file of TLS: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", file, maxFile)
	}
	if err != nil {
		return nil, fmt.Errorf("reading a file of TLS: %w", err)
	}
	return text, nil
}
