package httpapi

import (
	"strings"
	"testing"
)

func TestCheckExposure(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:8080", "localhost:8080", "[::1]:0", "127.9.9.9:1", "[::ffff:127.0.0.1]:1"} {
		if err := CheckExposure(addr, true); err != nil {
			t.Errorf("%s open: %v", addr, err)
		}
	}
	for _, addr := range []string{":8080", "0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080", "example.com:80", "localhost.example.com:80"} {
		err := CheckExposure(addr, true)
		if err == nil || !strings.Contains(err.Error(), "POSTRIDER_API_KEYS") || !strings.Contains(err.Error(), "POSTRIDER_HTTP_ADDR") {
			t.Errorf("%s open: %v", addr, err)
		}
		if err := CheckExposure(addr, false); err != nil {
			t.Errorf("%s with keys: %v", addr, err)
		}
	}
	if err := CheckExposure("nonsense", false); err == nil {
		t.Error("an address without a port is taken")
	}
}

func TestConfig(t *testing.T) {
	good := Config{Addr: ":8080", PublicURL: "https://post.example.com/base/"}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		config Config
		names  string
	}{
		{Config{Addr: "8080"}, "POSTRIDER_HTTP_ADDR"},
		{Config{Addr: "host:"}, "POSTRIDER_HTTP_ADDR"},
		{Config{PublicURL: "post.example.com"}, "POSTRIDER_PUBLIC_URL"},
		{Config{PublicURL: "ftp://post.example.com"}, "POSTRIDER_PUBLIC_URL"},
		{Config{PublicURL: "https://u:p@post.example.com"}, "POSTRIDER_PUBLIC_URL"},
		{Config{PublicURL: "https://post.example.com/?a=b"}, "POSTRIDER_PUBLIC_URL"},
	} {
		if err := c.config.Validate(); err == nil || !strings.Contains(err.Error(), c.names) {
			t.Errorf("%+v: %v", c.config, err)
		}
	}
}

func TestProxies(t *testing.T) {
	var p Proxies
	if err := p.UnmarshalText([]byte("10.1.2.3/8, 192.0.2.1,2001:db8::/32,::1,")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, prefix := range p {
		got = append(got, prefix.String())
	}
	if s := strings.Join(got, " "); s != "10.0.0.0/8 192.0.2.1/32 2001:db8::/32 ::1/128" {
		t.Errorf("the proxies are %s", s)
	}
	for _, bad := range []string{"10.0.0.0/33", "proxy", "10.0.0.0/8;::1", "fe80::1%eth0", "::ffff:10.0.0.1"} {
		if err := p.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestOrigins(t *testing.T) {
	var o Origins
	if err := o.UnmarshalText([]byte("https://app.example.com, http://localhost:3000")); err != nil || len(o) != 2 {
		t.Errorf("the origins are %v: %v", o, err)
	}
	if err := o.UnmarshalText([]byte("*")); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"app.example.com", "https://app.example.com/", "https://*.example.com", "https://a@example.com", "null", "ftp://x"} {
		if err := o.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
