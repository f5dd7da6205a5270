package broker

import (
	"net/url"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	type want struct {
		form           form
		addrs          string
		user, password string
		db             int
		master         string
		sentinel       string // user:password
		tls            bool
	}
	for raw, w := range map[string]want{
		"redis://127.0.0.1:6379/0":                 {addrs: "127.0.0.1:6379"},
		"redis://cache":                            {addrs: "cache:6379"},
		"redis://cache/":                           {addrs: "cache:6379"},
		"redis://cache/15":                         {addrs: "cache:6379", db: 15},
		"redis://:p%40ss%2Fw%3Ard%25@cache:7000/2": {addrs: "cache:7000", password: "p@ss/w:rd%", db: 2},
		"redis://me:a+b:c@cache":                   {addrs: "cache:6379", user: "me", password: "a+b:c"},
		"redis://u%3Aser:p@[::1]:7000":             {addrs: "[::1]:7000", user: "u:ser", password: "p"},
		"redis://[fd00::1]":                        {addrs: "[fd00::1]:6379"},
		"redis://me:p@ss@cache":                    {addrs: "cache:6379", user: "me", password: "p@ss"},
		"rediss://:x@cache:6380/1":                 {addrs: "cache:6380", password: "x", db: 1, tls: true},
		"unix:///run/redis/redis.sock":             {addrs: "/run/redis/redis.sock"},
		"unix://:x@/run/r%20s.sock?db=3":           {addrs: "/run/r s.sock", password: "x", db: 3},
		"redis+sentinel://a,b:1234,[::1]/main":     {form: sentinel, addrs: "a:26379 b:1234 [::1]:26379", master: "main"},
		"redis+sentinel://u:p@a/main/4":            {form: sentinel, addrs: "a:26379", user: "u", password: "p", master: "main", db: 4},
		"rediss+sentinel://a/main/?sentinel_password=s%26t&sentinel_username=w": {form: sentinel, addrs: "a:26379", master: "main", sentinel: "w:s&t", tls: true},
		"redis+cluster://a:1,b,c:3": {form: cluster, addrs: "a:1 b:6379 c:3"},
		"redis+cluster://u:p@a/0":   {form: cluster, addrs: "a:6379", user: "u", password: "p"},
		"rediss+cluster://a/":       {form: cluster, addrs: "a:6379", tls: true},
	} {
		a, err := parseURL(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		sentinelLogin := ""
		if a.sentinelPassword != "" {
			sentinelLogin = a.sentinelUser + ":" + a.sentinelPassword
		}
		got := want{a.form, strings.Join(a.addrs, " "), a.user, a.password, a.db, a.master, sentinelLogin, a.secure}
		if got != w {
			t.Errorf("%s: %+v, want %+v", raw, got, w)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	for _, raw := range []string{
		"", "127.0.0.1:6379", "http://cache", "REDIS://cache", "redis:cache",
		"redis://", "redis:///0", "redis://:hunter2@", "redis://:hunter2@/0",
		"redis://cache:0", "redis://cache:65536", "redis://cache:x", "redis://cache:",
		"redis://::1", "redis://[::1", "redis://[cache]:1", "redis://[]",
		"redis://cache/-1", "redis://cache/x", "redis://cache/1/2", "redis://cache/99999999999",
		"redis://a,b", "redis://a,", "redis://user@cache", "redis://:hunter2%@cache", "redis://:hunter2%zz@cache",
		"redis://:hunt/er2@cache", "redis://:hunt#er2@cache", "redis://:hunt?er2@cache", "redis://:hunter 2@cache",
		"redis://cache?db=1", "redis://cache?hunter2=1", "redis://cache/0?timeout=3s", "redis://cache?a=%zz",
		"unix://", "unix://run/redis.sock", "unix:///", "unix:///s?db=x", "unix:///s?db=1&db=2", "unix:///s?x=1",
		"redis+sentinel://a", "redis+sentinel://a/", "redis+sentinel:///main", "redis+sentinel://a/m/x", "redis+sentinel://a/m/1/2",
		"redis+sentinel://a/m?sentinel_username=hunter2", "redis+sentinel://a/m?password=hunter2",
		"redis+sentinel://a/m?sentinel_password=hunter2&sentinel_password=x",
		"redis+cluster://", "redis+cluster://a/1", "redis+cluster://a/0/0", "redis+cluster://a?x=1", "redis+cluster://a,,b",
	} {
		_, err := parseURL(raw)
		switch {
		case err == nil:
			t.Errorf("%q was taken", raw)
		case !strings.HasPrefix(err.Error(), "REDIS_URL "):
			t.Errorf("%q: the error does not name the variable: %v", raw, err)
		case strings.Contains(err.Error(), "hunt"):
			t.Errorf("%q: the error shows the password: %v", raw, err)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("redis://:p@cache:6379/0", "user", "p@ss")
	f.Add("redis+sentinel://a,b:1/m/2?sentinel_password=x", "", "%/:#?")
	f.Add("unix:///tmp/x?db=1", "ü", " ")
	f.Fuzz(func(t *testing.T, raw, user, password string) {
		if a, err := parseURL(raw); err == nil {
			if len(a.addrs) == 0 || a.db < 0 || (a.form == sentinel) != (a.master != "") {
				t.Errorf("%q: %+v", raw, a)
			}
		}
		// A login written as net/url writes it is read back as it was.
		if user == "" && password == "" {
			return
		}
		login := (&url.URL{Scheme: "redis+cluster", User: url.UserPassword(user, password), Host: "h"}).String() + ",i:7"
		a, err := parseURL(login)
		if err != nil {
			t.Fatalf("%q: %v", login, err)
		}
		if a.user != user || a.password != password || strings.Join(a.addrs, " ") != "h:6379 i:7" {
			t.Errorf("%q: user %q, password %q, hosts %v", login, a.user, a.password, a.addrs)
		}
	})
}
