package auth_test

import (
	"testing"

	"github.com/postrider/postrider/internal/auth"
)

func TestLocalHost(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST:8080": true, "127.0.0.1:8080": true, "127.8.9.1": true, "[::1]:8080": true, "[::1]": true,
		"[::ffff:127.0.0.1]:80": true, "": false, "evil.example": false, "localhost.evil.example:80": false,
		"127.0.0.1.evil.example": false, "10.0.0.1:8080": false, "[::2]:80": false, "0.0.0.0:80": false,
	} {
		if got := auth.LocalHost(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}
