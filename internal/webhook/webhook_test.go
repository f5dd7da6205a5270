package webhook

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

// The example of the specification's reference libraries.
func TestHeaders(t *testing.T) {
	key, err := ParseKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	h := key.Headers("msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if got, want := h.Get("Webhook-Signature"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("the signature is %s, want %s", got, want)
	}
	if h.Get("Webhook-Id") != "msg_p5jXN8AQM9LWM0D4loKWxJek" || h.Get("Webhook-Timestamp") != "1614265330" || h.Get("Content-Type") != "application/json" {
		t.Errorf("the headers are %v", h)
	}
}

func TestParseKey(t *testing.T) {
	of := func(n int) string { return "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for secret, good := range map[string]bool{of(24): true, of(64): true, of(23): false, of(65): false, "whsec_!": false, strings.TrimPrefix(of(32), "whsec_"): false, "": false} {
		_, err := ParseKey(secret)
		if (err == nil) != good {
			t.Errorf("%q: %v", secret, err)
		}
		if err != nil && len(secret) > 8 && strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells the secret")
		}
	}
}
