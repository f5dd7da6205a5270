package tasks_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/tasks"
)

func ExampleLogHeartbeat() {
	h, err := tasks.LogHeartbeat.Decode([]byte(`{"message": "still here"}`))
	fmt.Println(h.Message, err)

	_, err = tasks.LogHeartbeat.Decode([]byte(`{"message": "two\nlines"}`))
	fmt.Println(err)
	// Output:
	// still here <nil>
	// message must be at most 1000 bytes without control characters
}

func ExampleNoop() {
	n, err := tasks.Noop.Decode([]byte(`{"sleep_ms": 250}`))
	fmt.Println(n.SleepMS, err)

	_, err = tasks.Noop.Decode([]byte(`{"sleep_ms": 99999}`))
	fmt.Println(err)
	// Output:
	// 250 <nil>
	// sleep_ms must be from 0 to 10000
}

func TestBuiltinCatalogue(t *testing.T) {
	c, err := tasks.NewCatalogue(tasks.Builtin()...)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, typ := range c.Types() {
		names = append(names, typ.Name)
		if got, ok := c.Lookup(typ.Name); !ok || got.Name != typ.Name {
			t.Errorf("type %s is listed and not found", typ.Name)
		}
	}
	want := []string{"chat:archive", "email:reminder", "email:send", "feedback:receive", "log:heartbeat", "maintenance:cleanup", "noop", "noop:ephemeral", "notification:send", "schedule:tick"}
	if !slices.Equal(names, want) {
		t.Errorf("the types are %q, want %q", names, want)
	}
	if _, ok := c.Lookup("email"); ok {
		t.Error("a type that is none was found")
	}
	if ephemeral, _ := c.Lookup("noop:ephemeral"); !ephemeral.Ephemeral {
		t.Error("noop:ephemeral is not ephemeral")
	}
}

func TestCatalogueRefuses(t *testing.T) {
	define := func(f func(*tasks.Type)) tasks.Type {
		typ := tasks.Define[tasks.Nothing](tasks.Type{Name: "a:b"}).Type
		f(&typ)
		return typ
	}
	named := func(name string) tasks.Type { return define(func(t *tasks.Type) { t.Name = name }) }
	for _, c := range []struct {
		name string
		typ  tasks.Type
		word string // that the error says; empty: it is good
	}{
		{"good", define(func(*tasks.Type) {}), ""},
		{"one word", named("a"), ""},
		{"three words", named("a:b-c:d_9"), ""},
		{"no name", named(""), "name"},
		{"upper case", named("Email"), "name"},
		{"empty word", named("a::b"), "name"},
		{"asterisk", named("a:*"), "name"},
		{"long name", named(strings.Repeat("a", 65)), "name"},
		{"not defined", tasks.Type{Name: "a"}, "Define"},
		{"queue", define(func(t *tasks.Type) { t.Queue = "a b" }), "queue"},
		{"short deadline", define(func(t *tasks.Type) { t.Deadline = time.Millisecond }), "deadline"},
		{"long deadline", define(func(t *tasks.Type) { t.Deadline = 25 * time.Hour }), "deadline"},
		{"attempts", define(func(t *tasks.Type) { t.MaxAttempts = -1 }), "attempts"},
		{"many attempts", define(func(t *tasks.Type) { t.MaxAttempts = tasks.MaxAttemptsLimit + 1 }), "attempts"},
		{"ambiguity", define(func(t *tasks.Type) { t.OnAmbiguous = "perhaps" }), "ambiguity"},
		{"backoff without a base", define(func(t *tasks.Type) { t.Backoff.Base = 0 }), "backoff"},
		{"backoff with a small bound", define(func(t *tasks.Type) { t.Backoff.Max = 1 }), "backoff"},
		{"backoff's jitter", define(func(t *tasks.Type) { t.Backoff.Jitter = 1.5 }), "backoff"},
	} {
		_, err := tasks.NewCatalogue(c.typ)
		if (err == nil) != (c.word == "") || err != nil && !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: the error is %v, want %q in it", c.name, err, c.word)
		}
	}
	if _, err := tasks.NewCatalogue(named("a"), named("a")); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a type defined twice: %v", err)
	}
}

func TestDefineFillsIn(t *testing.T) {
	got := tasks.Define[tasks.Nothing](tasks.Type{Name: "a"})
	if got.Queue != "default" || got.Deadline != 30*time.Second || got.MaxAttempts != 10 ||
		got.Backoff != tasks.DefaultBackoff || got.OnAmbiguous != tasks.Resend {
		t.Errorf("the defaults are %+v", got.Type)
	}
}

func TestValidQueue(t *testing.T) {
	for name, want := range map[string]bool{
		"email": true, "a": true, "bulk_2-x": true, strings.Repeat("a", 64): true,
		"": false, "Email": false, "2": false, "a b": false, "a:b": false, "{a}": false, "a\n": false, strings.Repeat("a", 65): false,
	} {
		if got := tasks.ValidQueue(name); got != want {
			t.Errorf("queue %q is valid: %t, want %t", name, got, want)
		}
	}
}

func TestDecodeIsStrict(t *testing.T) {
	for raw, want := range map[string]string{ // the bad field; empty for good
		"": "", " ": "", "null": "", "{}": "", ` {"sleep_ms": 1} `: "",
		`{"sleep_ms": "1"}`:   "sleep_ms",
		`{"sleep_ms": 1.5}`:   "sleep_ms",
		`{"nap": 1}`:          "nap",
		"{\"pad\": \"\xff\"}": "payload",
		`{} {}`:               "payload",
		`{}]`:                 "payload",
		`{`:                   "payload",
		`[]`:                  "payload",
		`"x"`:                 "payload",
		`{"sleep_ms": -1}`:    "sleep_ms",
	} {
		_, err := tasks.Noop.Decode([]byte(raw))
		got := badFields(t, err)
		if want == "" && err != nil || want != "" && !slices.Equal(got, []string{want}) {
			t.Errorf("%s: bad are %q (%v), want %q", raw, got, err, want)
		}
	}
}

// TestErrorsAreBounded holds that an error does not repeat what is sent.
func TestErrorsAreBounded(t *testing.T) {
	_, err := tasks.Noop.Decode([]byte(`{"` + strings.Repeat("n", 1000) + `":1}`))
	if got := badFields(t, err); len(got) != 1 || len(got[0]) > 100 {
		t.Errorf("bad are %q", got)
	}
	digits := strings.Repeat("9", 1000)
	for _, raw := range []string{digits, `{"sleep_ms":` + digits + `}`, `{"pad":` + digits + `}`} {
		if _, err := tasks.Noop.Decode([]byte(raw)); err == nil || len(err.Error()) > 200 {
			t.Errorf("the error is %v", err)
		}
	}
}

func TestPayloadIsBounded(t *testing.T) {
	const frame = len(`{"pad":""}`)
	for size, good := range map[int]bool{tasks.MaxPayload: true, tasks.MaxPayload + 1: false} {
		raw := `{"pad":"` + strings.Repeat("x", size-frame) + `"}`
		_, _, err := tasks.Noop.Canonical([]byte(raw))
		if got := badFields(t, err); (err == nil) != good || !good && !slices.Equal(got, []string{"payload"}) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// TestPayloadKeepsItsSize proves that HTML does not grow by being stored.
func TestPayloadKeepsItsSize(t *testing.T) {
	const raw = `{"pad":"<p>R&D</p>"}`
	if got, _, err := tasks.Noop.Canonical([]byte(raw)); err != nil || string(got) != raw {
		t.Errorf("the payload is %q, %v; want %s", got, err, raw)
	}
	const data = `{"message":"m","everyone":true,"data":{"html":"<b>&</b>"}}`
	if got, _, err := tasks.NotificationSend.Canonical([]byte(data)); err != nil || !strings.Contains(string(got), `{"html":"<b>&</b>"}`) {
		t.Errorf("the payload is %q, %v", got, err)
	}
}

func TestInvalid(t *testing.T) {
	var bad tasks.Invalid
	if bad.OrNil() != nil {
		t.Error("an Invalid of nothing is an error")
	}
	bad.Add("a", "must be good")
	bad.Add("b[1]", "is too long")
	if got := bad.OrNil().Error(); got != "a must be good; b[1] is too long" {
		t.Errorf("the error reads %q", got)
	}
	var again tasks.Invalid
	if !errors.As(fmt.Errorf("reading: %w", bad), &again) || len(again) != 2 {
		t.Errorf("wrapped it is %v", again)
	}
}

func TestBackoffStaysInItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := tasks.Backoff{
			Base:   time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "base")),
			Jitter: rapid.Float64Range(0, 1).Draw(t, "jitter"),
		}
		b.Max = b.Base + time.Duration(rapid.Int64Range(0, int64(365*24*time.Hour)).Draw(t, "more"))
		attempt := rapid.IntRange(1, tasks.MaxAttemptsLimit).Draw(t, "attempt")
		nominal := b.Base
		for i := 1; i < attempt && nominal < b.Max; i++ {
			nominal *= 2
		}
		nominal = min(nominal, b.Max)
		spread := time.Duration(b.Jitter*float64(nominal)) + 1
		if got := b.After(attempt); got < 0 || got < nominal-spread || got > nominal+spread {
			t.Errorf("attempt %d waits %v, want %v give or take %v", attempt, got, nominal, spread)
		}
	})
}

func TestBackoffGrows(t *testing.T) {
	b := tasks.Backoff{Base: time.Second, Max: 10 * time.Second}
	for attempt, want := range map[int]time.Duration{
		-1: time.Second, 0: time.Second, 1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second,
		5: 10 * time.Second, 40: 10 * time.Second, 1 << 40: 10 * time.Second,
	} {
		if got := b.After(attempt); got != want {
			t.Errorf("attempt %d waits %v, want %v", attempt, got, want)
		}
	}
}
