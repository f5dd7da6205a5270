package mail

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/testkit"
)

// A server whose certificate is of an authority of one's own is sent to when
// SMTP_URL names it, and with no other; tls=optional checks it then, too.
func TestServerOfOwnAuthority(t *testing.T) {
	for name, option := range map[string]testkit.SMTPOption{"starttls": testkit.SMTPOfferTLS(), "implicit": testkit.SMTPImplicitTLS()} {
		t.Run(name, func(t *testing.T) {
			srv := testkit.NewSMTP(t, option)
			other, _ := testkit.Certificate(t)
			queries := map[string]bool{
				"ca=" + srv.CAFile(t): true, "ca=" + srv.CAFile(t) + "&min_tls=1.3": true, "ca=" + srv.CAFile(t) + "&server_name=localhost": true,
				"": false, "ca=" + other: false, "ca=" + srv.CAFile(t) + "&server_name=mail.example.com": false,
			}
			scheme := "smtps://"
			if name == "starttls" {
				scheme = "smtp://"
				queries["tls=starttls&ca="+other], queries["tls=optional&ca="+other], queries["tls=optional"] = false, false, true
				delete(queries, "") // which is optional, to loopback
			}
			for query, want := range queries {
				s, err := New(Options{
					Config:  Config{URL: scheme + srv.Addr() + "?" + query, From: "shop@example.com", Timeout: 20 * time.Second},
					Senders: 1, Log: testkit.Logger(t), Metrics: prometheus.NewRegistry(),
				})
				if err != nil {
					t.Fatal(err)
				}
				_, err = s.Send(testContext(t), testMessage(), nil)
				s.Close()
				if (err == nil) != want {
					t.Errorf("?%s: %v, want %t", query, err, want)
				}
			}
		})
	}
}

// Files that cannot be used are found before the first mail.
func TestFilesThatCannotBeUsed(t *testing.T) {
	cert, key := testkit.Certificate(t)
	for url, want := range map[string]string{
		"smtps://u:hunter2@h?ca=/nowhere.pem": "/nowhere.pem", "smtps://u:hunter2@h?cert=" + cert + "&key=" + cert: "cannot be used together",
	} {
		c := Config{URL: url, From: "a@example.com", Timeout: time.Second}
		if err := c.Validate(); err != nil {
			t.Errorf("%s: a process that sends nothing refuses it: %v", url, err)
		}
		if err := c.CheckFiles(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
	}
	if err := (Config{URL: "smtps://h?ca=" + cert + "&cert=" + cert + "&key=" + key}).CheckFiles(); err != nil {
		t.Error(err)
	}
	for _, url := range []string{"smtp://h?tls=none&ca=" + cert, "smtps://h?cert=" + cert, "smtps://h?min_tls=1.1", "smtps://h?ca=a&ca=b"} {
		if _, err := parseProviders(url); err == nil {
			t.Errorf("%s is taken", url)
		}
	}
}
