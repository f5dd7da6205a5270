package mail

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/testkit"
)

const testSecret = Secret("0123456789abcdef0123456789abcdef")

func TestReturnPaths(t *testing.T) {
	const id = "01920000-0000-7000-8000-000000000001"
	r := NewReturnPaths(Config{BounceDomain: "Bounces.Example.com", Secret: testSecret})
	address := r.Of(id)
	if local, _, _ := strings.Cut(address, "@"); len(local) > maxLocalPart || !strings.HasSuffix(address, "@bounces.example.com") {
		t.Fatalf("the return path is %q", address)
	}
	if _, err := parseMailbox("return path", address); err != nil {
		t.Errorf("%q is refused: %v", address, err)
	}
	for _, as := range []string{address, strings.ToUpper(address)} {
		if got, ok := r.MessageID(as); !ok || got != id {
			t.Errorf("%q is read as %q, %v", as, got, ok)
		}
	}
	other := NewReturnPaths(Config{BounceDomain: "bounces.example.com", Secret: testSecret + "x"})
	for _, forged := range []string{
		"", "@", "bounce+@bounces.example.com", "bounce+.@bounces.example.com", "bounce+x@bounces.example.com",
		other.Of(id),
		strings.Replace(address, "0001.", "0002.", 1),
		strings.Replace(address, "@bounces.", "@bounce.", 1),
		strings.TrimPrefix(address, "bounce+"),
		address + ".example.com",
		strings.Replace(address, "@", "a@", 1),
	} {
		if got, ok := r.MessageID(forged); ok {
			t.Errorf("%q is taken for the return path of %q", forged, got)
		}
	}
	if long := r.Of(strings.Repeat("x", 60)); long != "" {
		t.Errorf("a long id has the return path %q", long)
	}
	if NewReturnPaths(Config{Secret: testSecret}) != nil {
		t.Error("there are return paths without a domain")
	}
}

func TestSecretKey(t *testing.T) {
	a, b := testSecret.Keys("return path")[0], testSecret.Keys("unsubscribe")[0]
	if len(a) != 32 || string(a) == string(b) || string(a) != string(testSecret.Keys("return path")[0]) {
		t.Errorf("the keys are %x and %x", a, b)
	}
	for secret, good := range map[Secret]bool{"": true, "short": false, testSecret: true} {
		if err := secret.Validate(); (err == nil) != good {
			t.Errorf("%q: %v", secret, err)
		}
	}
}

// A mail goes out under a return path of its own; its header keeps the sender.
func TestSendUnderAReturnPath(t *testing.T) {
	srv := testkit.NewSMTP(t)
	s, err := New(Options{
		Config:  Config{URL: srv.URL(), From: "Shop <shop@example.com>", Timeout: patience, BounceDomain: "bounces.example.com", Secret: testSecret},
		Senders: 1, Log: testkit.Logger(t), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.postmark = true // as if its host were Postmark's
	m := testMessage()
	if _, err := s.Send(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}
	got := srv.Mails()[0]
	if id, ok := s.returns.MessageID(got.From); !ok || id != m.ID {
		t.Errorf("the envelope's sender is %q", got.From)
	}
	if !strings.Contains(string(got.Data), "From: \"Shop\" <shop@example.com>\r\n") {
		t.Errorf("the header is\n%s", got.Data)
	}
	if !strings.Contains(string(got.Data), "X-PM-Metadata-postrider-job: "+m.ID+"\r\n") {
		t.Errorf("the metadata is missing in\n%s", got.Data)
	}
}
