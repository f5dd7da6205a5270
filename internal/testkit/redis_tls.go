package testkit

import (
	"crypto/tls"
	"path/filepath"
)

// certify writes cert.pem and key.pem, a self-signed certificate for 127.0.0.1
// and localhost, into the server's folder. It returns a client's side of it
// and the paths of both.
func (s *RedisServer) certify() (config *tls.Config, certFile, keyFile string) {
	s.t.Helper()
	own, pool, err := selfSigned()
	if err != nil {
		s.t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(s.dir, "cert.pem"), filepath.Join(s.dir, "key.pem")
	if err := writePEM(own.Certificates[0], certFile, keyFile); err != nil {
		s.t.Fatal(err)
	}
	return &tls.Config{Certificates: own.Certificates, RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}, certFile, keyFile
}
