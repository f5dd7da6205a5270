package delivery_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestObjectives(t *testing.T) {
	var os delivery.Objectives
	if err := os.UnmarshalText([]byte("password-reset=99%<30s, receipt=99.5%<5m,digest=90%<1h30m")); err != nil {
		t.Fatal(err)
	}
	if len(os) != 3 || os[0] != (delivery.Objective{Category: "password-reset", Share: 0.99, Within: 30 * time.Second}) || os[1].String() != "receipt=99.5%<5m" || os[2].String() != "digest=90%<1h30m" {
		t.Errorf("read as %v", os)
	}
	for _, bad := range []string{"x", "x=99<30s", "x=100%<30s", "x=0%<30s", "x=1.2.3%<30s", "x=99%<30", "x=99%<1ms", "x=99%<25h", "X=99%<1m", "x=99%<1m,x=98%<1m"} {
		if err := os.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is taken as %v", bad, os)
		}
	}
	if err := os.UnmarshalText(nil); err != nil || len(os) != 0 {
		t.Errorf("none are %v: %v", os, err)
	}
}

// minutes is a store that knows of objectives alone.
type minutes struct {
	delivery.Store
	counted chan string
}

func (m *minutes) CountMinutes(_ context.Context, o delivery.Objective, _ time.Duration) error {
	select {
	case m.counted <- o.Category:
	default:
	}
	return nil
}

func (*minutes) AttainedSince(_ context.Context, _ string, back time.Duration) (delivery.Attained, error) {
	if back < time.Hour {
		return delivery.Attained{}, nil
	}
	return delivery.Attained{Total: 1000, Good: 950}, nil
}

func TestCounter(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := &minutes{counted: make(chan string, 1)}
	s := delivery.New(delivery.Options{Store: m, Objectives: delivery.Objectives{{Category: "receipt", Share: 0.99, Within: time.Minute}}})
	c, err := delivery.NewCounter(s, testkit.Logger(t), reg)
	if err != nil {
		t.Fatal(err)
	}
	c.Start()
	select {
	case <-m.counted:
	case <-time.After(30 * time.Second):
		t.Error("nothing is counted")
	}
	c.Stop()
	if err := c.Count(t.Context()); err != nil {
		t.Fatal(err)
	}
	rates := map[string]float64{}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			rates[metric.GetLabel()[1].GetValue()] = metric.GetGauge().GetValue()
		}
	}
	if len(rates) != 3 || rates["5m"] != 0 || math.Abs(rates["1h"]-5) > 1e-9 {
		t.Errorf("the burn rates are %v", rates)
	}
	burns, err := s.Burns(t.Context())
	if err != nil || len(burns) != 1 || math.Abs(burns[0].Windows[2].Rate-5) > 1e-9 {
		t.Errorf("the page shows %+v: %v", burns, err)
	}
}
