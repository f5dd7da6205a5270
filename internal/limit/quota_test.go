package limit

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/testkit"
)

func TestReadQuotas(t *testing.T) {
	var q Quotas
	if err := q.UnmarshalText([]byte("shop=100/d, shop=10/h,*=5/d,")); err != nil {
		t.Fatal(err)
	}
	if got := q.Of("shop"); len(got) != 2 || got[0] != (Quota{100, 24 * time.Hour}) || got[1].String() != "10 an hour" {
		t.Errorf("the shop has %v", got)
	}
	if got := q.Of("other"); len(got) != 1 || got[0].String() != "5 a day" {
		t.Errorf("others have %v", got)
	}
	if names := q.Names(); len(names) != 1 || names[0] != "shop" {
		t.Errorf("named are %v", names)
	}
	for _, bad := range []string{"shop", "shop=1", "shop=0/d", "shop=1/m", "=1/d", "shop=x/d", "shop=1/d,shop=2/d", "shop=1000000001/d"} {
		if err := new(Quotas).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestSpend(t *testing.T) {
	for name, rdb := range map[string]redis.UniversalClient{
		"redis": testkit.Redis(t).Client(), "cluster": testkit.Cluster(t, 3).Client(),
	} {
		t.Run(name, func(t *testing.T) {
			a, b := patient(t, rdb), patient(t, rdb) // two processes
			now := time.Date(2026, 5, 4, 10, 45, 0, 0, time.UTC)
			clock := func() time.Time { return now }
			a.now, b.now = clock, clock
			quotas := []Quota{{10, 24 * time.Hour}, {6, time.Hour}}
			spend := func(l *Limiter, n int) ([]Usage, *Usage) {
				t.Helper()
				left, full, err := l.Spend(t.Context(), "shop", quotas, n)
				if err != nil || len(left) != 2 {
					t.Fatalf("%v, %v", left, err)
				}
				return left, full
			}
			if left, full := spend(a, 4); full != nil || left[0].Left != 6 || left[1].Left != 2 || left[1].Reset != 15*time.Minute {
				t.Errorf("four: %+v, full is %v", left, full)
			}
			if left, full := spend(b, 3); full == nil || full.Per != time.Hour || left[0].Left != 6 || left[1].Left != 2 {
				t.Errorf("three where two are left: %+v, full is %v", left, full)
			}
			if left, full := spend(b, 2); full != nil || left[1].Left != 0 {
				t.Errorf("two: %+v, full is %v", left, full)
			}
			if left, _ := spend(a, -1); left[0].Left != 5 || left[1].Left != 1 {
				t.Errorf("one given back: %+v", left)
			}
			now = now.Add(15 * time.Minute) // the next hour
			if left, full := spend(a, 5); full != nil || left[0].Left != 0 || left[1].Left != 1 {
				t.Errorf("in the next hour: %+v, full is %v", left, full)
			}
			if left, full := spend(a, 1); full == nil || full.Per != 24*time.Hour || full.Reset != 13*time.Hour {
				t.Errorf("more than the day has: %+v, full is %v", left, full)
			}
			now = now.Add(13 * time.Hour)
			if left, _ := spend(b, 1); left[0].Left != 9 {
				t.Errorf("on the next day: %+v", left)
			}
		})
	}
}

func TestManySpendNoMoreThanThereIs(t *testing.T) {
	rdb := testkit.Redis(t).Client()
	l := patient(t, rdb)
	var taken atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 10 {
				if _, full, err := l.Spend(t.Context(), "k", []Quota{{50, 24 * time.Hour}}, 1); err != nil {
					t.Error(err)
				} else if full == nil {
					taken.Add(1)
				}
			}
		})
	}
	all.Wait()
	// A day may have ended meanwhile.
	if n := taken.Load(); n != 50 && n != 100 {
		t.Errorf("%d were taken of 50", n)
	}
}

// Without Redis a quota keeps nobody from sending.
func TestSpendWithoutRedis(t *testing.T) {
	server := testkit.Redis(t)
	l := New(server.Client(), testkit.Logger(t))
	server.Kill()
	for range 3 {
		if left, full, err := l.Spend(t.Context(), "k", []Quota{{1, time.Hour}}, 5); err != nil || full != nil || left != nil {
			t.Errorf("%v, %v, %v", left, full, err)
		}
	}
}
