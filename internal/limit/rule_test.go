package limit

import (
	"reflect"
	"testing"
	"time"
)

func TestRules(t *testing.T) {
	const text = "domain:gmail.com=600/m,provider:main=50/s,queue:bulk.concurrency=20,queue:bulk=100/s"
	var got Rules
	if err := got.UnmarshalText([]byte(" queue:bulk=100/s, queue:bulk.concurrency=20,domain:GMail.com=600/m,provider:Main=50/s")); err != nil {
		t.Fatal(err)
	}
	want := Rules{
		{Queue, "bulk"}:       {Rate{100, time.Second}, 20},
		{Domain, "gmail.com"}: {Rate{600, time.Minute}, 0},
		{Provider, "main"}:    {Rate{50, time.Second}, 0},
	}
	if !reflect.DeepEqual(got, want) || got.String() != text {
		t.Errorf("got %+v, %s", got, got)
	}
	if err := got.UnmarshalText(nil); err != nil || len(got) != 0 {
		t.Errorf("of nothing: %+v, %v", got, err)
	}
	if k := OfRecipient("Ann@Sub.Gmail.COM"); k.String() != "domain:sub.gmail.com" {
		t.Errorf("key %s", k)
	}
	if got.Names(Provider) != nil {
		t.Errorf("providers %v", got.Names(Provider))
	}
	if k := OfProvider("Main"); k.String() != "provider:main" {
		t.Errorf("key %s", k)
	}
	for _, text := range []string{
		"queue", "queue:bulk", "queue:=1/s", "bulk=1/s", "user:ann=1/s", "queue:bulk=0/s", "queue:bulk=off", "queue:bulk=1/d",
		"queue:bulk=200000/s", "queue:bulk.concurrency=0", "queue:bulk.concurrency=1/s", "domain:gmail.com.concurrency=5", "provider:main.concurrency=5",
		"queue:bulk=1/s,queue:bulk=2/s", "queue:bulk.concurrency=1,queue:bulk.concurrency=2", "queue:bulk=1/s,", "domain:a@b=1/s", "queue:{x}=1/s",
	} {
		got := Rules{{Queue, "x"}: {Concurrency: 1}}
		if err := got.UnmarshalText([]byte(text)); err == nil || len(got) != 1 {
			t.Errorf("%q: got %s, %v; want an error and the rules as they were", text, got, err)
		}
	}
}

// A pace is never faster than its rate, hardly slower, and never much at once.
func TestPace(t *testing.T) {
	for _, r := range []Rate{
		{1, time.Second}, {50, time.Second}, {100_000, time.Second}, {1, time.Minute}, {59, time.Minute}, {100, time.Minute},
		{131, time.Minute}, {6000, time.Minute}, {1, time.Hour}, {3601, time.Hour}, {5000, time.Hour}, {100_001, time.Hour},
	} {
		p := r.pace()
		windows := (r.Per + p.window - 1) / p.window
		most := p.starts * int(windows)
		if most > r.N+p.starts || p.starts*int(r.Per/p.window) > r.N || float64(p.starts)*float64(r.Per)/float64(p.window) < 0.98*float64(r.N) {
			t.Errorf("%s: %d in %v", r, p.starts, p.window)
		}
		if p.starts > r.perSecond()+1 {
			t.Errorf("%s: %d at once", r, p.starts)
		}
	}
}
