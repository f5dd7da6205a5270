package mail

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/testkit"
)

func TestTLSAndLogin(t *testing.T) {
	const password = "p@ss:w/ö#rd"
	for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5"} {
		for name, opts := range map[string][]testkit.SMTPOption{
			"plain":    nil,
			"starttls": {testkit.SMTPOfferTLS()},
			"smtps":    {testkit.SMTPImplicitTLS()},
		} {
			t.Run(mechanism+"/"+name, func(t *testing.T) {
				srv := testkit.NewSMTP(t, append(opts, testkit.SMTPLogin("ann@example.com", password, mechanism))...)
				sender := newSender(t, srv, patience)
				if err := check(t, sender); err != nil {
					t.Fatalf("check: %v", err)
				}
				if srv.Seen(testkit.SMTPAtMail) != 0 || srv.Seen(testkit.SMTPAtQuit) != 1 {
					t.Error("Check did not stop at the login and leave")
				}
				if _, err := sender.Send(t.Context(), testMessage(), nil); err != nil {
					t.Fatal(err)
				}
				got := srv.Mails()[0]
				if got.User != "ann@example.com" || got.TLS != (name != "plain") {
					t.Errorf("user %q, TLS %t", got.User, got.TLS)
				}
			})
		}
	}
}

func TestWrongPassword(t *testing.T) {
	for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5"} {
		t.Run(mechanism, func(t *testing.T) {
			srv := testkit.NewSMTP(t, testkit.SMTPLogin("ann", "right", mechanism))
			sender := newSenderURL(t, srv, strings.Replace(srv.URL(), "right", "wr0ng-s3cret", 1), patience)
			for name, err := range map[string]error{
				"check": check(t, sender),
				"send":  func() error { _, err := sender.Send(t.Context(), testMessage(), nil); return err }(),
			} {
				var e *Error
				if !errors.As(err, &e) || e.Kind != Temporary || e.Op != opAuth || e.Code != 535 {
					t.Errorf("%s: got %v", name, err)
				}
				if strings.Contains(err.Error(), "wr0ng") || !strings.Contains(err.Error(), "SMTP_URL") {
					t.Errorf("%s: password told, or variable not named: %v", name, err)
				}
			}
			if srv.Seen(testkit.SMTPAtMail) != 0 {
				t.Error("went on without a login")
			}
		})
	}
}

func TestServerEchoesPassword(t *testing.T) {
	// base64 of "\0ann\0s3cret" and of "s3cret"
	for _, echo := range []string{"AGFubgBzM2NyZXQ=", "czNjcmV0", "s3cret"} {
		srv := testkit.NewSMTP(t, testkit.SMTPLogin("ann", "s3cret"))
		srv.On(testkit.SMTPAtAuth, testkit.SMTPReply(500, "5.5.2 what is AUTH PLAIN "+echo))
		err := check(t, newSender(t, srv, patience))
		if err == nil || strings.Contains(err.Error(), echo) || !strings.Contains(err.Error(), "***") {
			t.Errorf("got %v", err)
		}
	}
}

func TestLoginImpossible(t *testing.T) {
	t.Run("no AUTH", func(t *testing.T) {
		srv := testkit.NewSMTP(t)
		sender := newSenderURL(t, srv, strings.Replace(srv.URL(), "//", "//ann:s3cret@", 1), patience)
		expectTemporary(t, check(t, sender), opAuth, "no AUTH")
	})
	t.Run("unknown mechanisms", func(t *testing.T) {
		srv := testkit.NewSMTP(t, testkit.SMTPLogin("ann", "s3cret", "GSSAPI"))
		expectTemporary(t, check(t, newSender(t, srv, patience)), opAuth, "GSSAPI")
	})
	t.Run("not encrypted", func(t *testing.T) {
		srv := testkit.NewSMTP(t, testkit.SMTPLogin("ann", "s3cret"))
		sender := newSender(t, srv, patience)
		sender.providers[0].server.loopback, sender.providers[0].server.mode = false, tlsOptional
		expectTemporary(t, check(t, sender), opAuth, "not encrypted")
		if srv.Seen(testkit.SMTPAtAuth) != 0 {
			t.Error("the password went out")
		}
	})
}

func TestCertificates(t *testing.T) {
	for name, opts := range map[string][]testkit.SMTPOption{
		"starttls": {testkit.SMTPOfferTLS()},
		"smtps":    {testkit.SMTPImplicitTLS()},
	} {
		t.Run(name+" refuses an unknown one", func(t *testing.T) {
			srv := testkit.NewSMTP(t, append(opts, testkit.SMTPLogin("ann", "s3cret"))...)
			sender := newSender(t, srv, patience)
			sender.providers[0].tls.RootCAs = testkit.NewSMTP(t, testkit.SMTPOfferTLS()).Roots()
			_, err := sender.Send(t.Context(), testMessage(), nil)
			expectTemporary(t, err, opTLS, "certificate")
			if srv.Seen(testkit.SMTPAtAuth) != 0 {
				t.Error("the password went out")
			}
		})
	}
	t.Run("starttls is not offered", func(t *testing.T) {
		srv := testkit.NewSMTP(t)
		sender := newSenderURL(t, srv, "smtp://"+srv.Addr()+"?tls=starttls", patience)
		expectTemporary(t, check(t, sender), opTLS, "tls=optional")
	})
	t.Run("optional takes any, without a password", func(t *testing.T) {
		srv := testkit.NewSMTP(t, testkit.SMTPOfferTLS())
		sender := newSenderURL(t, srv, "smtp://"+srv.Addr(), patience) // loopback: optional
		sender.providers[0].tls.RootCAs = nil
		sender.providers[0].server.loopback = false
		if _, err := sender.Send(t.Context(), testMessage(), nil); err != nil {
			t.Fatal(err)
		}
		if !srv.Mails()[0].TLS {
			t.Error("STARTTLS was offered and not used")
		}
	})
	t.Run("optional checks it when a password follows", func(t *testing.T) {
		srv := testkit.NewSMTP(t, testkit.SMTPOfferTLS(), testkit.SMTPLogin("ann", "s3cret"))
		sender := newSenderURL(t, srv, fmt.Sprintf("smtp://ann:s3cret@%s?tls=optional", srv.Addr()), patience)
		sender.providers[0].tls.RootCAs = nil
		sender.providers[0].server.loopback = false
		expectTemporary(t, check(t, sender), opTLS, "certificate")
	})
}

func TestChooseAuth(t *testing.T) {
	for offered, want := range map[string]string{
		"PLAIN LOGIN":                          "*smtp.plainAuth",
		"LOGIN PLAIN CRAM-MD5":                 "*smtp.plainAuth",
		"login":                                "*smtp.loginAuth",
		"CRAM-MD5 LOGIN":                       "*smtp.loginAuth",
		"CRAM-MD5":                             "*smtp.cramMD5Auth",
		"PLAIN SCRAM-SHA-1 SCRAM-SHA-256":      "*smtp.scramAuth",
		"SCRAM-SHA-256-PLUS XOAUTH2 SCRAM-SHA": "<nil>",
		"":                                     "<nil>",
	} {
		if got := fmt.Sprintf("%T", chooseAuth(offered, server{})); got != want {
			t.Errorf("%q: got %s, want %s", offered, got, want)
		}
	}
}

func expectTemporary(t *testing.T, err error, op, words string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Kind != Temporary || e.Op != op {
		t.Fatalf("got %v, want temporary at %s", err, op)
	}
	if !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%q is missing, or the password is there: %v", words, err)
	}
}

// check is what Check says of the only provider.
func check(t *testing.T, s *Sender) error {
	t.Helper()
	return s.Check(t.Context())[0].Err
}
