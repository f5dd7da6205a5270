package testkit_test

import (
	"testing"

	"github.com/postrider/postrider/internal/testkit"
)

func TestRedisForms(t *testing.T) {
	for name, start := range map[string]func(testing.TB, ...string) *testkit.RedisServer{
		"tcp": testkit.Redis, "unix": testkit.RedisUnix, "tls": testkit.RedisTLS,
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, "requirepass secret")
			if err := s.Client().Set(t.Context(), "k", "v", 0).Err(); err != nil {
				t.Fatalf("%s: %v", s.URL(), err)
			}
			t.Log(s.URL())
		})
	}
}
