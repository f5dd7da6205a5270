package config

import "testing"

func TestRedact(t *testing.T) {
	for value, want := range map[string]string{
		"postgres://bob:hunter2@db/postrider?sslmode=disable": "postgres://bob:xxxxx@db/postrider?sslmode=disable",
		"postgres://db/x?user=bob&password=hunter2&a=1":       "postgres://db/x?user=bob&password=xxxxx&a=xxxxx",
		"redis://:hunter2@127.0.0.1:6379/0":                   "redis://:xxxxx@127.0.0.1:6379/0",
		"redis://127.0.0.1:6379/0":                            "redis://127.0.0.1:6379/0",
		"redis+cluster://bob:hunter2@h1:1,h2:2":               "redis+cluster://bob:xxxxx@h1:1,h2:2",
		"unix://:hunter2@/run/redis.sock?db=1":                "unix://:xxxxx@/run/redis.sock?db=1",
		"smtp://bob@mail:25":                                  "smtp://bob@mail:25",
		"smtp://bob:hunt/er@2?x@mail:25":                      "smtp://bob:xxxxx@mail:25",
		"smtp://bob:hunter2@mail:notaport":                    "smtp://bob:xxxxx@mail:notaport",
		"host=db password=hunter2":                            "[set]",
		"shop:hunter2hunter2:jobs:write":                      "[set]",
	} {
		if got := redact(value); got != want {
			t.Errorf("redact(%q) = %q, want %q", value, got, want)
		}
	}
}
