package fetch

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func TestPublic(t *testing.T) {
	for text, want := range map[string]bool{
		"93.184.216.34": true, "2606:2800:220:1::1": true, "::ffff:93.184.216.34": true,
		"127.0.0.1": false, "::1": false, "0.0.0.0": false, "::": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false,
		"169.254.169.254": false, "fe80::1": false, "fd00:ec2::254": false, "100.100.100.200": false, "192.0.0.192": false,
		"::ffff:169.254.169.254": false, "::ffff:10.0.0.1": false, "224.0.0.1": false, "ff02::1": false, "255.255.255.255": false,
		"64:ff9b::a9fe:a9fe": false, "2002:a9fe:a9fe::": false, "198.18.0.1": false, "::7f00:1": false,
	} {
		if got := public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %t, want %t", text, got, want)
		}
	}
}

// A name that its owner points at this machine is not asked, however harmless it
// looked before, unless the operator allows the address.
func TestRebinding(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("secret")) }))
	defer server.Close()
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host  string
		allow string
		want  error
	}{
		{"evil.example", "", ErrPrivate}, {"evil.example", "10.0.0.0/8", ErrPrivate}, {"evil.example", "127.0.0.0/8", nil},
		{"127.0.0.1", "", nil}, // who writes this means it
	} {
		cfg := Config{}
		if err := cfg.Allow.UnmarshalText([]byte(c.allow)); err != nil {
			t.Fatal(err)
		}
		client, err := newClient(cfg, names(t, [4]byte{127, 0, 0, 1}))
		if err != nil {
			t.Fatal(err)
		}
		address := "http://" + net.JoinHostPort(c.host, at.Port()) + "/hidden-path"
		body, err := client.Get(t.Context(), address)
		if !errors.Is(err, c.want) || (string(body) == "secret") != (c.want == nil) {
			t.Errorf("%s with %q allowed: %q, %v", c.host, c.allow, body, err)
		}
		if err != nil && strings.Contains(err.Error(), "hidden-path") {
			t.Errorf("the error tells the path: %v", err)
		}
	}
}

// Literal addresses are checked as what a name resolves to is.
func TestLiteralAddresses(t *testing.T) {
	client, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{
		"http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://10.0.0.1/", "http://0.0.0.0/",
		"http://[::ffff:169.254.169.254]/", "http://[::ffff:a00:1]/",
	} {
		if _, err := client.Get(t.Context(), address); !errors.Is(err, ErrPrivate) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestNetworks(t *testing.T) {
	var n Networks
	for _, text := range []string{"10.0.0.0/33", "example.com", "::ffff:10.0.0.0/104", "10.0.0.0/8;11.0.0.0/8"} {
		if err := n.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	if err := n.UnmarshalText([]byte("10.1.2.3/8, fd12::1,")); err != nil || len(n) != 2 || n[0].String() != "10.0.0.0/8" || n[1].Bits() != 128 {
		t.Errorf("%v, %v", n, err)
	}
}

func TestConfigWithBadCA(t *testing.T) {
	for _, file := range []string{"/nowhere/ca.pem", "guard_test.go"} {
		if err := (Config{CA: file}).Validate(); err == nil || !strings.Contains(err.Error(), "POSTRIDER_FETCH_CA") || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// names is a resolver to whom every name has the address.
func names(t *testing.T, ip [4]byte) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { _ = conn.Close(); <-ended })
	go func() {
		defer close(ended)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var q dnsmessage.Message
			if q.Unpack(buf[:n]) != nil || len(q.Questions) == 0 {
				continue
			}
			q.Response, q.Additionals = true, nil
			if of := q.Questions[0]; of.Type == dnsmessage.TypeA {
				q.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: of.Name, Type: of.Type, Class: of.Class},
					Body:   &dnsmessage.AResource{A: ip},
				}}
			}
			if out, err := q.Pack(); err == nil {
				_, _ = conn.WriteTo(out, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}
