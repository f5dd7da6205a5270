package mail

import (
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

func TestParseServer(t *testing.T) {
	for raw, want := range map[string]server{
		"smtp://mail.example.com":                      {host: "mail.example.com", port: "587", mode: tlsRequired},
		"smtp://mail.example.com:25?tls=optional":      {host: "mail.example.com", port: "25", mode: tlsOptional},
		"smtp://mail.example.com?tls=none":             {host: "mail.example.com", port: "587", mode: tlsNone},
		"smtps://mail.example.com/":                    {host: "mail.example.com", port: "465", mode: tlsImplicit},
		"smtp://localhost:1025":                        {host: "localhost", port: "1025", mode: tlsOptional, loopback: true},
		"smtp://127.0.0.2:1025?tls=starttls":           {host: "127.0.0.2", port: "1025", mode: tlsRequired, loopback: true},
		"smtp://[::1]:1025?tls=none":                   {host: "::1", port: "1025", mode: tlsNone, loopback: true},
		"smtp://ann%40example.com:p%2F%23%3F@mail.com": {host: "mail.com", port: "587", mode: tlsRequired, user: "ann@example.com", password: "p/#?"},
		"smtp://u:p@localhost?tls=none":                {host: "localhost", port: "587", mode: tlsNone, user: "u", password: "p", loopback: true},
	} {
		got, err := parseServer(raw)
		if err != nil || got != want {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", raw, got, err, want)
		}
	}
}

func TestConfigRefused(t *testing.T) {
	good := Config{URL: "smtp://localhost", From: "a@example.com", Timeout: time.Second}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	with := func(change func(*Config)) Config {
		c := good
		change(&c)
		return c
	}
	type refused struct {
		config   Config
		variable string
	}
	tests := []refused{
		{with(func(c *Config) { c.From = "nobody" }), "MAIL_FROM"},
		{with(func(c *Config) { c.From = "" }), "MAIL_FROM"},
		{with(func(c *Config) { c.Timeout = 0 }), "POSTRIDER_SMTP_TIMEOUT"},
		{with(func(c *Config) { c.Timeout = time.Hour }), "POSTRIDER_SMTP_TIMEOUT"},
	}
	for _, url := range []string{
		"mail.example.com:25", "http://mail.example.com", "smtp://", "smtp://:25",
		"smtp://u:s3cret@h:port", "smtp://u:s3cret@h:0", "smtp://u:s3cret@h:65536",
		"smtp://u:s3cret%zz@h", "smtp://u:s3cret/x@h", "smtp://u:12#s3cret@h", "smtp://u:12?s3cret@h",
		"smtp://u:s3cret@h/path", "smtp://u:s3cret@h?tls=sometimes", "smtp://u:s3cret@h?s3cret=1",
		"smtp://u:s3cret@h?tls=none", "smtp://u:s3cret@h?tls=starttls&tls=none",
		"smtp://u:s3cret@h?tls=starttls&s3cret", "smtps://u:s3cret@h?tls=none", "smtp://:s3cret@h",
		"smtp://u:s3cret%0d%0a@h", "smtp://u:s3cret@h?tls=%zz", "s3cret",
	} {
		tests = append(tests, refused{with(func(c *Config) { c.URL = url }), "SMTP_URL"})
	}
	for _, test := range tests {
		err := test.config.Validate()
		if err == nil || !strings.Contains(err.Error(), test.variable) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v: got %v, want %s named and no password", test.config, err, test.variable)
		}
		if _, err := New(Options{Config: test.config, Connections: 1, Log: testkit.Logger(t)}); err == nil {
			t.Errorf("%+v: New took it", test.config)
		}
	}
	if err := with(func(c *Config) { c.URL = "" }).Validate(); err != nil {
		t.Errorf("a process that does not send needs no SMTP_URL: %v", err)
	}
	if _, err := New(Options{Config: with(func(c *Config) { c.URL = "" }), Connections: 1, Log: testkit.Logger(t)}); err == nil {
		t.Error("New took an empty SMTP_URL")
	}
}
