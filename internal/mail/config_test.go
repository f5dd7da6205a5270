package mail

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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
		got, err := parseProviders(raw)
		if err != nil || len(got) != 1 || got[0].server != want {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", raw, got, err, want)
		}
	}
}

func TestParseProviders(t *testing.T) {
	a := server{host: "a.example.com", port: "587", mode: tlsRequired}
	b := server{host: "b.example.com", port: "465", mode: tlsImplicit}
	for raw, want := range map[string][]settings{
		"smtp://A.example.com": {{server: server{host: "A.example.com", port: "587", mode: tlsRequired}, name: "a.example.com", priority: 10, weight: 1}},
		" smtp://a.example.com\n\tsmtps://b.example.com?priority=20 \n": {
			{server: a, name: "a.example.com", priority: 10, weight: 1},
			{server: b, name: "b.example.com", priority: 20, weight: 1},
		},
		"smtp://a.example.com?name=one&from=Example.com,b%C3%BCcher.example&from=c.example&category=alert&weight=5&connections=3&tls=starttls smtp://a.example.com?name=two&priority=0": {
			{server: a, name: "one", from: []string{"example.com", "xn--bcher-kva.example", "c.example"}, categories: []string{"alert"}, priority: 10, weight: 5, connections: 3},
			{server: a, name: "two", weight: 1},
		},
		"smtps://[::1]": {{server: server{host: "::1", port: "465", mode: tlsImplicit, loopback: true}, name: "ip6--1", priority: 10, weight: 1}},
	} {
		got, err := parseProviders(raw)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", raw, got, err, want)
		}
	}
}

// FuzzParseProviders: whatever is read can be used, and what is refused tells
// nothing of the value.
func FuzzParseProviders(f *testing.F) {
	for _, s := range []string{
		"smtp://u:p@h:25?tls=none", "smtps://h", "smtp://a smtp://b?name=x&from=c.example&category=d&priority=1&weight=2&connections=3",
		"smtp://a smtp://a", "smtp://u:hunter2 smtp://x", "smtp://[::1]?weight=-1", "smtp://h?weight=1&weight=2", " ", "smtp://h?from=", "smtp://%zz",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := parseProviders(raw)
		if err != nil {
			for _, word := range strings.Fields(raw) {
				if len(word) > 12 && strings.Contains(err.Error(), word) {
					t.Errorf("%v quotes %q", err, word)
				}
			}
			return
		}
		names := map[string]bool{}
		for _, s := range got {
			if s.host == "" || s.port == "" || s.weight < 1 || s.connections < 0 || names[s.name] || !namePattern.MatchString(s.name) {
				t.Errorf("%q was read as %+v", raw, s)
			}
			names[s.name] = true
			if _, err := url.Parse("smtp://" + s.addr()); err != nil {
				t.Errorf("%q has the address %q", raw, s.addr())
			}
		}
	})
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
		{with(func(c *Config) { c.Secret = "s3cret" }), "POSTRIDER_SECRET"},
		{with(func(c *Config) { c.BounceDomain = "bounces.example.com" }), "POSTRIDER_SECRET"},
		{with(func(c *Config) { c.BounceDomain, c.Secret = "bounces@example.com", testSecret }), "POSTRIDER_BOUNCE_DOMAIN"},
	}
	for _, url := range []string{
		"mail.example.com:25", "http://mail.example.com", "smtp://", "smtp://:25",
		"smtp://u:s3cret@h:port", "smtp://u:s3cret@h:0", "smtp://u:s3cret@h:65536",
		"smtp://u:s3cret%zz@h", "smtp://u:s3cret/x@h", "smtp://u:12#s3cret@h", "smtp://u:12?s3cret@h",
		"smtp://u:s3cret@h/path", "smtp://u:s3cret@h?tls=sometimes", "smtp://u:s3cret@h?s3cret=1",
		"smtp://u:s3cret@h?tls=none", "smtp://u:s3cret@h?tls=starttls&tls=none",
		"smtp://u:s3cret@h?tls=starttls&s3cret", "smtps://u:s3cret@h?tls=none", "smtp://:s3cret@h",
		"smtp://u:s3cret%0d%0a@h", "smtp://u:s3cret@h?tls=%zz", "s3cret",
		"smtp://u:s3cret@h smtp://u:s3cret@h?tls=starttls", "smtp://h u:s3cret@h", " ", strings.Repeat("smtp://h ", 30),
		"smtp://h?name=s3cret!", "smtp://h?name=a&name=b", "smtp://h?from=", "smtp://h?from=s3cret..x", "smtp://h?category=S3cret",
		"smtp://h?priority=s3cret", "smtp://h?priority=-1", "smtp://h?weight=0", "smtp://h?connections=0", "smtp://h?weight=1&weight=2",
	} {
		tests = append(tests, refused{with(func(c *Config) { c.URL = url }), "SMTP_URL"})
	}
	for _, test := range tests {
		err := test.config.Validate()
		if err == nil || !strings.Contains(err.Error(), test.variable) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v: got %v, want %s named and no password", test.config, err, test.variable)
		}
		if _, err := New(Options{Config: test.config, Senders: 1, Log: testkit.Logger(t), Metrics: prometheus.NewRegistry()}); err == nil {
			t.Errorf("%+v: New took it", test.config)
		}
	}
	if err := with(func(c *Config) { c.URL = "" }).Validate(); err != nil {
		t.Errorf("a process that does not send needs no SMTP_URL: %v", err)
	}
	if _, err := New(Options{Config: with(func(c *Config) { c.URL = "" }), Senders: 1, Log: testkit.Logger(t), Metrics: prometheus.NewRegistry()}); err == nil {
		t.Error("New took an empty SMTP_URL")
	}
}
