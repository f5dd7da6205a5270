package tlsfile

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/secretfile"
)

// lookEvery is how often the files of a certificate are looked at, while there
// are handshakes.
const lookEvery = time.Second

// pair is a certificate with its key, read anew when either file changes. While
// the two do not fit, as when one of them is being written, the last that did
// serve.
type pair struct {
	certFile, keyFile string

	mu     sync.Mutex
	looked time.Time
	stamp  string // of the files that were read
	cert   *tls.Certificate
}

func newPair(certFile, keyFile string) (*pair, error) {
	if certFile == "" || keyFile == "" {
		return nil, errors.New("a certificate and its key are needed, each in a file")
	}
	p := &pair{certFile: certFile, keyFile: keyFile, looked: time.Now()}
	var err error
	p.stamp = p.current()
	if p.cert, err = p.load(); err != nil {
		return nil, err
	}
	return p, nil
}

// get is the certificate as it is now.
func (p *pair) get() *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.looked) < lookEvery {
		return p.cert
	}
	p.looked = time.Now()
	stamp := p.current()
	if stamp == p.stamp {
		return p.cert
	}
	if cert, err := p.load(); err == nil {
		p.cert, p.stamp = cert, stamp
	}
	return p.cert
}

// current tells versions of the two files apart. Links are followed: Kubernetes
// changes a secret by moving one.
func (p *pair) current() string {
	stamp := ""
	for _, file := range []string{p.certFile, p.keyFile} {
		if info, err := os.Stat(file); err == nil {
			stamp += fmt.Sprintf("%d %d ", info.ModTime().UnixNano(), info.Size())
		}
	}
	return stamp
}

func (p *pair) load() (*tls.Certificate, error) {
	cert, err := read(p.certFile)
	if err != nil {
		return nil, err
	}
	key, _, err := secretfile.Read(p.keyFile, maxFile)
	if err != nil {
		return nil, err
	}
	both, err := tls.X509KeyPair(cert, key) // whose errors quote nothing
	if err != nil {
		return nil, fmt.Errorf("the certificate %s and the key %s cannot be used together: %w", p.certFile, p.keyFile, err)
	}
	return &both, nil
}
