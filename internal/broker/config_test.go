package broker

import (
	"reflect"
	"strings"
	"testing"
)

func TestQueuesUnmarshal(t *testing.T) {
	for text, want := range map[string]Queues{
		"email=20,bulk=10":    {{"email", 20}, {"bulk", 10}},
		" a = 1 , b=10000 ":   {{"a", 1}, {"b", 10000}},
		"my-queue_2=3":        {{"my-queue_2", 3}},
		"":                    nil,
		"email":               nil,
		"email=":              nil,
		"=3":                  nil,
		"email=0":             {{"email", 0}},
		"email=10001":         nil,
		"email=-1":            nil,
		"email=2.5":           nil,
		"Email=2":             nil,
		"e:x=2":               nil,
		"email=1,email=2":     nil,
		"email=1,":            nil,
		"email=1;bulk=2":      nil,
		"{email}=1":           nil,
		"email=9999999999999": nil,
	} {
		var q Queues
		err := q.UnmarshalText([]byte(text))
		if (err == nil) != (want != nil) || !reflect.DeepEqual(q, want) {
			t.Errorf("%q: %v, %v; want %v", text, q, err, want)
		}
	}
	q := Queues{{"email", 20}, {"bulk", 10}}
	if got := strings.Join(q.Names(), " "); got != "email bulk" {
		t.Errorf("names %q", got)
	}
}

func TestConfigValidate(t *testing.T) {
	ok := Config{RedisURL: "redis://127.0.0.1:6379/0", Queues: testQueues()}
	if err := ok.Validate(); err != nil {
		t.Error(err)
	}
	for variable, cfg := range map[string]Config{
		"REDIS_URL":        {RedisURL: "http://localhost", Queues: testQueues()},
		"POSTRIDER_QUEUES": {RedisURL: ok.RedisURL},
	} {
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), variable) {
			t.Errorf("%s: error %v", variable, err)
		}
	}
	idle := Config{RedisURL: ok.RedisURL, Queues: Queues{{"email", 0}}}
	if err := idle.Validate(); err == nil || !strings.Contains(err.Error(), "POSTRIDER_QUEUES") {
		t.Errorf("every queue left to others: error %v", err)
	}
	if _, err := Connect(Config{RedisURL: "nonsense"}); err == nil {
		t.Error("Connect took nonsense")
	}
}

func TestPoolSizeIsFarBelowConcurrency(t *testing.T) {
	if n := poolSize(Queues{{"email", 2000}}); n < 100 || n > 1000 {
		t.Errorf("%d connections for 2,000 handlers", n)
	}
	if n := poolSize(Queues{{"a", 1}}); n < senders {
		t.Errorf("%d connections, fewer than the senders", n)
	}
	if n := poolSize(Queues{{"a", 10000}, {"b", 10000}}); n > 512 {
		t.Errorf("%d connections", n)
	}
}
