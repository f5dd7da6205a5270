package store_test

import (
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

// TestBurnRates compares burn rates with an example that was computed by hand. Of
// an objective of 99 % one mail in a hundred may be late, so that the rate is the
// share of those that are, times a hundred:
//
//	five minutes:                     200 mails,  6 late: 3.0 %
//	an hour:     800 more, 2 late:   1000 mails,  8 late: 0.8 %
//	six hours:  3000 more, 28 late:  4000 mails, 36 late: 0.9 %
func TestBurnRates(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		m := newMailroom(t, url)
		ctx := t.Context()
		o := delivery.Objective{Category: "reset", Share: 0.99, Within: 30 * time.Second}
		m.clock.Advance(m.clock.Now().Truncate(time.Minute).Add(time.Minute + 10*time.Second).Sub(m.clock.Now()))
		now := m.clock.Now()
		db := raw(t, url)
		for _, part := range []struct {
			ago         time.Duration
			mails, late int
		}{{5 * time.Hour, 3000, 28}, {40 * time.Minute, 800, 2}, {3 * time.Minute, 200, 6}} {
			m.clock.Advance(now.Add(-part.ago).Sub(m.clock.Now()))
			r := job.Request{Base: job.IDFrom(m.clock.Now())}
			for i := range part.mails {
				to := "soon@example.com"
				if i < part.late {
					to = "late@example.com"
				}
				r.Jobs = append(r.Jobs, job.New{
					ID: r.Base.Plus(i + 1), Batch: r.Base, Type: "email:send", Queue: "email", Recipient: to, Payload: []byte("{}"),
					MaxAttempts: 3, OnAmbiguous: tasks.Resend, About: tasks.Description{Category: "reset"},
				})
			}
			if _, err := m.Accept(ctx, r); err != nil {
				t.Fatal(err)
			}
		}
		// In time is up to the last millisecond of the thirty seconds.
		_, err := db.ExecContext(ctx, `UPDATE jobs SET state = 'done', finished_at = due_at + CASE WHEN recipient = 'late@example.com' THEN 30001 ELSE 30000 END`)
		if err != nil {
			t.Fatal(err)
		}
		m.clock.Advance(now.Sub(m.clock.Now()))

		reg := prometheus.NewPedanticRegistry()
		s := delivery.New(delivery.Options{Store: m.Store, Suppressions: m.Suppressions(), Objectives: delivery.Objectives{o}})
		c, err := delivery.NewCounter(s, testkit.Logger(t), reg)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Count(ctx); err != nil {
			t.Fatal(err)
		}
		burns, err := s.Burns(ctx)
		if err != nil || len(burns) != 1 || len(burns[0].Windows) != 3 {
			t.Fatalf("the burns are %+v: %v", burns, err)
		}
		told := map[string]float64{}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, metric := range families[0].GetMetric() {
			told[metric.GetLabel()[1].GetValue()] = metric.GetGauge().GetValue()
		}
		for i, want := range []struct {
			over string
			of   delivery.Attained
			rate float64
		}{{"5m", delivery.Attained{Total: 200, Good: 194}, 3}, {"1h", delivery.Attained{Total: 1000, Good: 992}, 0.8}, {"6h", delivery.Attained{Total: 4000, Good: 3964}, 0.9}} {
			w := burns[0].Windows[i]
			if w.Attained != want.of || math.Abs(w.Rate-want.rate) > 1e-9 || math.Abs(told[want.over]-want.rate) > 1e-9 {
				t.Errorf("over %s there are %+v, the metric is %v; want %+v", want.over, w, told[want.over], want)
			}
		}
	})
}
