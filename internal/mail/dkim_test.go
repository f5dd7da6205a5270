package mail

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/testkit"
)

// rsaKey is made once: that takes long.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, minRSA)
	if err != nil {
		panic(err)
	}
	return key
})

// keyFile writes a private key as PKCS #8 PEM.
func keyFile(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pemFile(t, "PRIVATE KEY", der)
}

func pemFile(t *testing.T, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func ed25519Key(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// loaded reads a POSTRIDER_DKIM that is good, with its keys.
func loaded(t *testing.T, setting string) Keys {
	t.Helper()
	var entries DKIM
	if err := entries.UnmarshalText([]byte(setting)); err != nil {
		t.Fatal(err)
	}
	keys, err := LoadKeys(entries)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// published is a DNS that holds what Check wants.
type published map[string]string

func (p published) LookupTXT(_ context.Context, name string) ([]string, error) {
	record, there := p[name]
	if !there {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return []string{"v=spf1 -all", record}, nil
}

func publish(keys Keys) published {
	all := published{}
	for _, p := range keys.Check(context.Background(), all) {
		all[p.Record] = p.Want
	}
	return all
}

// signature is what dkimpy says of one.
type signature struct {
	Domain, Selector, Algorithm, Headers string
	Valid                                bool
	Why                                  string
}

func verify(t *testing.T, message []byte, records published) []signature {
	t.Helper()
	var out []signature
	python(t, "dkim.py", map[string]any{"message": message, "records": records}, &out)
	return out
}

// TestSignaturesHold sends mails of all shapes and has another implementation
// check what the server got.
func TestSignaturesHold(t *testing.T) {
	keys := loaded(t, "example.com:new:"+keyFile(t, ed25519Key(t))+", example.com:old:"+keyFile(t, rsaKey()))
	srv := testkit.NewSMTP(t, testkit.SMTPExtension("SMTPUTF8", "8BITMIME", "PIPELINING"))
	sender := newSender(t, srv, patience)
	sender.keys = keys
	for name, change := range map[string]func(*Message){
		"plain":               func(*Message) {},
		"empty":               func(m *Message) { m.Text = "" },
		"no line end":         func(m *Message) { m.Text = "no line end" },
		"empty lines at end":  func(m *Message) { m.Text = "text\n\n\n\n" },
		"dots":                func(m *Message) { m.Text = ".\n..\n.x\n" },
		"spaces":              func(m *Message) { m.Text = "a  \t b \n \n\t\n" },
		"long folded subject": func(m *Message) { m.Subject = strings.Repeat("Grüße und Küsse ", 30) },
		"sub-domain":          func(m *Message) { m.From = "Shop <a@mail.eu.example.com>" },
		"local part beyond ASCII": func(m *Message) {
			m.Rcpt, m.Subject = "ünal@example.org", "Grüße"
		},
		"everything": func(m *Message) {
			m.HTML, m.ReplyTo, m.Cc = "<p>ü</p>\n.\n", "Hilfe für Söhne <help@example.com>", []string{"Ünal <u@example.org>"}
			m.Headers = map[string]string{"List-Unsubscribe": "<https://example.com/u?" + strings.Repeat("t", 200) + ">", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
			m.Attachments = []Attachment{{Name: "ü.bin", Content: bytes.Repeat([]byte("\r\n.\x00\xff "), 1000)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := testMessage()
			change(&m)
			if _, err := sender.Send(testContext(t), m, nil); err != nil {
				t.Fatal(err)
			}
			mails := srv.Mails()
			data := mails[len(mails)-1].Data
			got := verify(t, data, publish(keys))
			if len(got) != 2 || got[0].Algorithm != "ed25519-sha256" || got[1].Algorithm != "rsa-sha256" {
				t.Fatalf("signatures: %+v\n%s", got, data)
			}
			for _, s := range got {
				if !s.Valid || s.Domain != "example.com" {
					t.Errorf("%s by %s does not hold: %s\n%s", s.Selector, s.Domain, s.Why, data)
				}
				if !strings.HasSuffix(s.Headers, ":From:To:Subject") {
					t.Errorf("not signed once more than there are: %s", s.Headers)
				}
			}
			if name == "everything" && !strings.HasPrefix(got[0].Headers,
				"From:Cc:Subject:Date:Message-ID:Reply-To:MIME-Version:Content-Type:List-Unsubscribe:List-Unsubscribe-Post:") {
				t.Errorf("signed: %s", got[0].Headers)
			}
		})
	}
}

// TestSignaturesBreak makes sure that the verifier of the test above looks.
func TestSignaturesBreak(t *testing.T) {
	keys := loaded(t, "example.com:s:"+keyFile(t, ed25519Key(t)))
	m := testMessage()
	m.From = "a@example.com"
	l, err := compose(m, keys)
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{
		"body":           strings.Replace(string(l.content.bytes()), "Thanks", "Thank", 1),
		"subject":        strings.Replace(string(l.content.bytes()), "Welcome!", "Wellcome!", 1),
		"second subject": "Subject: You have won\r\n" + string(l.content.bytes()),
		"second from":    "From: bank@example.net\r\n" + string(l.content.bytes()),
		"second to":      "To: all@example.net\r\n" + string(l.content.bytes()),
	} {
		if got := verify(t, []byte(raw), publish(keys)); len(got) != 1 || got[0].Valid {
			t.Errorf("%s changed: %+v", name, got)
		}
	}
	if got := verify(t, l.content.bytes(), publish(keys)); !got[0].Valid {
		t.Errorf("unchanged: %+v", got)
	}
}

// TestOthersAreNotSigned: a domain has its own keys, or those of the nearest
// above it.
func TestOthersAreNotSigned(t *testing.T) {
	keys := loaded(t, "example.com:a:"+keyFile(t, ed25519Key(t))+" shop.example.com:b:"+keyFile(t, ed25519Key(t))+" bücher.example:c:"+keyFile(t, ed25519Key(t)))
	for from, want := range map[string]string{
		"a@Example.com": "example.com:a", "a@mail.example.com": "example.com:a",
		"a@shop.example.com": "shop.example.com:b", "a@x.shop.example.com": "shop.example.com:b",
		"a@BÜCHER.example": "xn--bcher-kva.example:c",
		"a@example.org":    "", "a@notexample.com": "", "a@com": "",
	} {
		m := testMessage()
		m.From = from
		l, err := compose(m, keys)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, s := range verify(t, l.content.bytes(), publish(keys)) {
			got += s.Domain + ":" + s.Selector
		}
		if got != want {
			t.Errorf("%s is signed by %q, want %q", from, got, want)
		}
	}
}

func TestKeysThatCannotBe(t *testing.T) {
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	open := keyFile(t, ed25519Key(t))
	if err := os.Chmod(open, 0o660); err != nil {
		t.Fatal(err)
	}
	noPEM := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(noPEM, []byte("secret words"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ file, want string }{
		"no file":          {filepath.Join(t.TempDir(), "none"), "no such file"},
		"short RSA":        {keyFile(t, short), "1024 bits"},
		"curve":            {keyFile(t, curve), "neither RSA nor Ed25519"},
		"groups may write": {open, "mode 0660"},
		"no PEM":           {noPEM, "not PEM"},
		"certificate":      {pemFile(t, "CERTIFICATE", []byte("x")), "PKCS #8"},
	} {
		_, err := New(Options{
			Config:  Config{URL: "smtp://127.0.0.1:1", From: "a@example.com", Timeout: patience, DKIM: DKIM{{"example.com", "s", test.file}}},
			Senders: 1, Log: testkit.Logger(t), Metrics: prometheus.NewRegistry(),
		})
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "example.com:s") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, key := range map[string]string{
		"PKCS #1":                  pemFile(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey())),
		"PKCS #8":                  keyFile(t, rsaKey()),
		"Ed25519 that groups read": keyFile(t, ed25519Key(t)),
	} {
		if err := os.Chmod(key, 0o640); err != nil {
			t.Fatal(err)
		}
		if keys, err := LoadKeys(DKIM{{"example.com", "s", key}}); err != nil || len(keys.Warnings) > 0 {
			t.Errorf("%s: %v, %q", name, err, keys.Warnings)
		}
		// As Kubernetes mounts secrets.
		if err := os.Chmod(key, 0o644); err != nil {
			t.Fatal(err)
		}
		if keys, err := LoadKeys(DKIM{{"example.com", "s", key}}); err != nil || len(keys.Warnings) != 1 || !strings.Contains(keys.Warnings[0], "POSTRIDER_DKIM: example.com:s") {
			t.Errorf("%s that all may read: %v, %q", name, err, keys.Warnings)
		}
	}
}

func TestDKIMSettingIsRead(t *testing.T) {
	var got DKIM
	err := got.UnmarshalText([]byte("Example.com:2026A:/etc/a.pem,\n bücher.example:x.y:C:/b.pem ,"))
	want := DKIM{{"example.com", "2026a", "/etc/a.pem"}, {"xn--bcher-kva.example", "x.y", "C:/b.pem"}}
	if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"example.com", "example.com:s", "example.com:s:", ":s:f", "a b:s:f", "example.com::f", "a..b:s:f", "a.b:s:f a.b:S:g", "exa_mple.com:s:f"} {
		if err := new(DKIM).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// TestRecordsAreLookedUp is what doctor tells.
func TestRecordsAreLookedUp(t *testing.T) {
	keys := loaded(t, "example.com:a:"+keyFile(t, ed25519Key(t))+" example.com:b:"+keyFile(t, rsaKey()))
	dns := publish(keys)
	for _, p := range keys.Check(t.Context(), dns) {
		if p.Err != nil {
			t.Errorf("%s is published: %v", p.Name, p.Err)
		}
	}
	bare := "k=rsa; p=" + base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)) // RFC 6376's own form
	dns["b._domainkey.example.com"] = bare[:40] + " " + bare[40:] + ";"
	delete(dns, "a._domainkey.example.com")
	got := keys.Check(t.Context(), dns)
	var unknown *net.DNSError
	if !errors.As(got[0].Err, &unknown) || got[0].Record != "a._domainkey.example.com" || !strings.HasPrefix(got[0].Want, "v=DKIM1; k=ed25519; p=") {
		t.Errorf("one that is not there: %+v", got[0])
	}
	if got[1].Err != nil {
		t.Errorf("a bare RSA key: %v", got[1].Err)
	}
	for _, other := range []string{"", "v=DKIM1; p=", "v=DKIM1; k=ed25519; p=AAAA", "v=DKIM1; k=rsa; p=AAAA", "v=DKIM1; p=!"} {
		dns["b._domainkey.example.com"] = other
		if got := keys.Check(t.Context(), dns); got[1].Err == nil || !strings.Contains(got[1].Err.Error(), "another key") {
			t.Errorf("%q: %v", other, got[1].Err)
		}
	}
}
