package tlsfile_test

import (
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/internal/tlsfile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// shake has a server and a client meet. It returns the certificate that the
// client saw.
func shake(t *testing.T, server, client *tls.Config) (string, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		raw, err := l.Accept()
		if err == nil {
			defer raw.Close()
			err = errors.Join(raw.SetDeadline(time.Now().Add(patience)), tls.Server(raw, server).Handshake())
		}
		served <- err
	}()
	client = client.Clone()
	if client.ServerName == "" {
		client.ServerName = "localhost"
	}
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	c := tls.Client(raw, client)
	err = errors.Join(raw.SetDeadline(time.Now().Add(patience)), c.Handshake())
	if err != nil {
		_ = raw.Close()
	}
	if err := errors.Join(err, <-served); err != nil { // in TLS 1.3 a server refuses after the client is content
		return "", err
	}
	return string(c.ConnectionState().PeerCertificates[0].Raw), nil
}

func serverOf(t *testing.T, s tlsfile.Server) *tls.Config {
	t.Helper()
	c, err := s.Config()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func clientOf(t *testing.T, c tlsfile.Client) *tls.Config {
	t.Helper()
	config, err := c.Config()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestAuthorities(t *testing.T) {
	cert, key := testkit.Certificate(t)
	other, otherKey := testkit.Certificate(t)
	open := serverOf(t, tlsfile.Server{Cert: cert, Key: key})
	closed := serverOf(t, tlsfile.Server{Cert: cert, Key: key, ClientCA: cert})
	for name, c := range map[string]struct {
		server *tls.Config
		client tlsfile.Client
		err    string
	}{
		"own authority":          {open, tlsfile.Client{CA: cert}, ""},
		"the system's":           {open, tlsfile.Client{}, "unknown authority"},
		"another's":              {open, tlsfile.Client{CA: other}, "certificate"},
		"another name":           {open, tlsfile.Client{CA: cert, Name: "mail.example.com"}, "not mail.example.com"},
		"client certificate":     {closed, tlsfile.Client{CA: cert, Cert: cert, Key: key}, ""},
		"none, and one is asked": {closed, tlsfile.Client{CA: cert}, "certificate"},
		"a stranger's":           {closed, tlsfile.Client{CA: cert, Cert: other, Key: otherKey}, "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := shake(t, c.server, clientOf(t, c.client))
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v, want %q", err, c.err)
			}
		})
	}
}

func TestLeastVersion(t *testing.T) {
	cert, key := testkit.Certificate(t)
	old := clientOf(t, tlsfile.Client{CA: cert})
	old.MaxVersion = tls.VersionTLS12
	var min tlsfile.Version
	if err := min.UnmarshalText([]byte("1.3")); err != nil {
		t.Fatal(err)
	}
	if _, err := shake(t, serverOf(t, tlsfile.Server{Cert: cert, Key: key}), old); err != nil {
		t.Errorf("TLS 1.2: %v", err)
	}
	if _, err := shake(t, serverOf(t, tlsfile.Server{Cert: cert, Key: key, Min: min}), old); err == nil {
		t.Error("TLS 1.2 is spoken though 1.3 is the least")
	}
	for _, text := range []string{"1.0", "1.1", "TLS1.2", ""} {
		if min.UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q is taken for a version", text)
		}
	}
}

// A certificate that changes is shown from then on, by servers and by clients;
// one that is half written changes nothing.
func TestCertificateIsReadAnew(t *testing.T) {
	cert, key := testkit.Certificate(t)
	server := serverOf(t, tlsfile.Server{Cert: cert, Key: key})
	first, err := shake(t, server, clientOf(t, tlsfile.Client{CA: cert}))
	if err != nil {
		t.Fatal(err)
	}
	// What is looked at once a second, and seen by its time, which may be coarse.
	replace := func(change func()) {
		change()
		later := time.Now().Add(time.Hour)
		if err := os.Chtimes(cert, later, later); err != nil {
			t.Fatal(err)
		}
	}
	pem, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	trust := clientOf(t, tlsfile.Client{CA: cert})
	replace(func() {
		if err := os.WriteFile(key, pem[:len(pem)/2], 0o600); err != nil {
			t.Fatal(err)
		}
	})
	seen := func(client *tls.Config) string {
		got, err := shake(t, server, client)
		if err != nil {
			return err.Error()
		}
		return got
	}
	end := time.Now().Add(2 * time.Second) // past a look
	for time.Now().Before(end) {
		if seen(trust) != first {
			t.Fatal("a broken key is used, or none")
		}
	}
	replace(func() { testkit.Recertify(t, cert, key) })
	testkit.WaitFor(t, patience, "the new certificate is shown", func() bool {
		return seen(clientOf(t, tlsfile.Client{CA: cert})) != first && !strings.Contains(seen(clientOf(t, tlsfile.Client{CA: cert})), "certificate")
	})
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	cert, key := testkit.Certificate(t)
	_, otherKey := testkit.Certificate(t)
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]tlsfile.Client{
		"no such file":       {CA: "/nowhere/ca.pem"},
		"no certificate":     {CA: key},
		"a folder":           {CA: filepath.Dir(cert)},
		"too large":          {CA: large},
		"another's key":      {Cert: cert, Key: otherKey},
		"a key for both":     {Cert: key, Key: key},
		"certificate, alone": {Cert: cert},
		"key, alone":         {Key: key},
	} {
		if _, err := c.Config(); err == nil {
			t.Errorf("%s: it is taken", name)
		}
		if _, err := (tlsfile.Server{Cert: c.Cert, Key: c.Key, ClientCA: c.CA}).Config(); err == nil {
			t.Errorf("%s: a server takes it", name)
		}
	}
}

func TestFromQuery(t *testing.T) {
	q, err := url.ParseQuery("ca=/a&cert=/b&key=/c&server_name=d&min_tls=1.3")
	if err != nil {
		t.Fatal(err)
	}
	got, err := tlsfile.FromQuery(q.Get)
	if want := (tlsfile.Client{CA: "/a", Cert: "/b", Key: "/c", Name: "d", Min: tls.VersionTLS13}); got != want || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"cert=/b", "key=/c", "min_tls=1.1"} {
		q, err := url.ParseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tlsfile.FromQuery(q.Get); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}
