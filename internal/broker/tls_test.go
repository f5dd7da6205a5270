package broker

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/testkit"
)

// Redis by TLS: with an authority of one's own, and a certificate where it asks
// for one.
func TestRedisByTLS(t *testing.T) {
	t.Parallel()
	srv := testkit.RedisTLS(t, "tls-auth-clients yes")
	// What Redis refuses it may say, or cut.
	const refused = ""
	other, otherKey := testkit.Certificate(t)
	ours := "cert=" + srv.CAFile + "&key=" + srv.KeyFile
	const taken = "taken"
	for query, want := range map[string]string{
		"ca=" + srv.CAFile + "&" + ours: taken, "ca=" + srv.CAFile + "&min_tls=1.3&server_name=localhost&" + ours: taken,
		ours: "unknown authority", "ca=" + other + "&" + ours: "certificate", "ca=" + srv.CAFile: refused,
		"ca=" + srv.CAFile + "&server_name=redis.example.com&" + ours: "redis.example.com",
		"ca=" + srv.CAFile + "&cert=" + other + "&key=" + otherKey:    refused,
	} {
		rdb, err := Connect(Config{RedisURL: "rediss://" + srv.Addr + "/0?" + query})
		if err != nil {
			t.Fatal(err)
		}
		err = rdb.Ping(bound(t)).Err()
		_ = rdb.Close()
		if (err == nil) != (want == taken) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("?%s: %v, want %q", query, err, want)
		}
	}
}

func TestRedisURLWithBadFiles(t *testing.T) {
	cert, key := testkit.Certificate(t)
	for query, want := range map[string]string{
		"ca=/nowhere.pem": "/nowhere.pem", "ca=" + key: "no certificate", "cert=" + cert: "both cert= and key=",
		"cert=" + cert + "&key=" + cert: "cannot be used together", "min_tls=1.1": "1.2 or 1.3", "ca=/a&ca=/b": "stands twice", "sslmode=x": "not known",
	} {
		err := (Config{RedisURL: "rediss://:hunter2@cache/0?" + query, Queues: Queues{{"default", 1}}}).Validate()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "REDIS_URL") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("?%s: %v, want %q", query, err, want)
		}
	}
	if _, err := parseURL("redis://cache/0?ca=" + cert); err == nil {
		t.Error("a connection without TLS takes an authority")
	}
}
