package testkit

import (
	"crypto/tls"
	"path/filepath"
)

// certify writes cert.pem and key.pem, a self-signed certificate for 127.0.0.1
// and localhost, into the server's folder. It returns a client's side of it
// and the certificate's path.
func (s *RedisServer) certify() (*tls.Config, string) {
	s.t.Helper()
	config, pool, err := selfSigned()
	if err != nil {
		s.t.Fatal(err)
	}
	certFile := filepath.Join(s.dir, "cert.pem")
	if err := writePEM(config.Certificates[0], certFile, filepath.Join(s.dir, "key.pem")); err != nil {
		s.t.Fatal(err)
	}
	return &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}, certFile
}
