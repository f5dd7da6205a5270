package app

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/internal/tlsfile"
)

// A process serves HTTPS with a certificate of its own, to whom shows one of the
// authority that it asks for.
func TestHTTPS(t *testing.T) {
	cert, key := testkit.Certificate(t)
	a := boot(t, Dev, "POSTRIDER_DATA_DIR="+t.TempDir(), "POSTRIDER_TLS_CERT="+cert, "POSTRIDER_TLS_KEY="+key, "POSTRIDER_TLS_CLIENT_CA="+cert, "POSTRIDER_TLS_MIN=1.3")
	ask := func(c tlsfile.Client, change func(*tls.Config)) (*http.Response, error) {
		config, err := c.Config()
		if err != nil {
			t.Fatal(err)
		}
		change(config)
		client := http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
		res, err := client.Get("https://" + a.Addr() + "/healthz")
		if err == nil {
			_ = res.Body.Close()
		}
		return res, err
	}
	as := func(*tls.Config) {}
	known := tlsfile.Client{CA: cert, Cert: cert, Key: key}
	res, err := ask(known, as)
	if err != nil || res.StatusCode != http.StatusOK || res.Header.Get("Strict-Transport-Security") == "" {
		t.Fatalf("%v, %v", res, err)
	}
	if _, err := ask(tlsfile.Client{CA: cert}, as); err == nil {
		t.Error("who shows no certificate is let in")
	}
	if _, err := ask(known, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }); err == nil {
		t.Error("TLS 1.2 is spoken")
	}
	if res, err := http.Get("http://" + a.Addr() + "/healthz"); err == nil {
		_ = res.Body.Close()
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("HTTP is spoken: %s", res.Status)
		}
	}
}

// -check-config refuses files for TLS that cannot be used, each by its setting.
func TestCheckConfigReadsFilesOfTLS(t *testing.T) {
	cert, key := testkit.Certificate(t)
	_, other := testkit.Certificate(t)
	base := []string{"DATABASE_URL=postgres://post:hunter2@db/postrider", "SMTP_URL=smtp://mail.example"}
	for environ, want := range map[string]string{
		"POSTRIDER_TLS_CERT=/nowhere.pem POSTRIDER_TLS_KEY=" + key:                       "/nowhere.pem",
		"POSTRIDER_TLS_CERT=" + cert + " POSTRIDER_TLS_KEY=" + other:                     "cannot be used together",
		"POSTRIDER_TLS_CERT=" + cert:                                                     "POSTRIDER_TLS_KEY",
		"POSTRIDER_TLS_CLIENT_CA=" + cert:                                                "POSTRIDER_TLS_CLIENT_CA needs",
		"POSTRIDER_TLS_MIN=1.1":                                                          "POSTRIDER_TLS_MIN: want 1.2 or 1.3",
		"POSTRIDER_BOUNCE_TLS_CERT=" + cert + " POSTRIDER_BOUNCE_TLS_KEY=" + other:       "POSTRIDER_BOUNCE_TLS_CERT",
		"POSTRIDER_FETCH_CA=" + key:                                                      "POSTRIDER_FETCH_CA",
		"REDIS_URL=rediss://:hunter2@redis/0?ca=/nowhere.pem":                            "REDIS_URL",
		"DATABASE_URL=postgres://u:hunter2@db/p?sslmode=verify-full&sslrootcert=/no.pem": "DATABASE_URL: reading a file of TLS: open /no.pem",
		"SMTP_URL=smtps://u:hunter2@mail.example?ca=" + key:                              "SMTP_URL: server mail.example",
		"POSTRIDER_DKIM=example.com:s:/nowhere.pem":                                      "POSTRIDER_DKIM: example.com:s",
	} {
		var out, complaints bytes.Buffer
		code := CheckConfig(Worker, System{Environ: append(base[:2:2], strings.Fields(environ)...), Stdout: &out, Stderr: &complaints})
		if code != exitUsage || !strings.Contains(complaints.String(), want) {
			t.Errorf("%s: exit code %d, %s", environ, code, complaints.String())
		}
		if strings.Contains(out.String()+complaints.String(), "hunter2") {
			t.Errorf("%s: a secret is shown", environ)
		}
	}
	var out, complaints bytes.Buffer
	good := []string{"POSTRIDER_TLS_CERT=" + cert, "POSTRIDER_TLS_KEY=" + key, "POSTRIDER_FETCH_CA=" + cert}
	if code := CheckConfig(Worker, System{Environ: append(base, good...), Stdout: &out, Stderr: &complaints}); code != exitOK {
		t.Errorf("good files: %s", complaints.String())
	}
}
