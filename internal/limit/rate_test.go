package limit

import (
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/config"
)

func TestRate(t *testing.T) {
	for text, want := range map[string]Rate{
		"10/s": {10, time.Second}, "600/m": {600, time.Minute}, "5000/h": {5000, time.Hour}, "off": {},
	} {
		var got Rate
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want || got.String() != text {
			t.Errorf("%s: got %+v (%s), %v", text, got, got, err)
		}
	}
	for _, text := range []string{"", "10", "10/", "/s", "10/d", "ten/s", "10/s/s", "1.5/s", "0/m", "-1/m", "9999999999/s", "Off"} {
		got := Rate{1, time.Second}
		if err := got.UnmarshalText([]byte(text)); err == nil || got != (Rate{1, time.Second}) {
			t.Errorf("%q: got %+v, %v; want an error and the rate as it was", text, got, err)
		}
	}
}

func TestConfig(t *testing.T) {
	var cfg Config
	if _, err := config.Load(&cfg, []string{"POSTRIDER_RATE_LIMIT_ADDR=off"}, nil); err != nil {
		t.Fatal(err)
	}
	if cfg.Key != (Rate{6000, time.Minute}) || !cfg.Addr.Off() {
		t.Errorf("got %v and %v, want 6000/m and off", cfg.Key, cfg.Addr)
	}
	_, err := config.Load(&cfg, []string{"POSTRIDER_RATE_LIMIT_KEY=much"}, nil)
	if err == nil || !strings.Contains(err.Error(), `POSTRIDER_RATE_LIMIT_KEY: "much" is not a rate`) {
		t.Errorf("got %v", err)
	}
}
