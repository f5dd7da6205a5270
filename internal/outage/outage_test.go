package outage_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/outage"
)

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := outage.NewGate(time.Second)
		for range 2 {
			if !g.Open() {
				t.Error("it is closed at first")
			}
		}
		if g.Answered() {
			t.Error("an outage ended that never was")
		}
		if !g.Failed() || g.Failed() {
			t.Error("an outage begins once")
		}
		if g.Open() {
			t.Error("it is open at once after a failure")
		}
		time.Sleep(time.Second)
		if !g.Open() || g.Open() {
			t.Error("want one caller let through a pause")
		}
		if !g.Answered() || g.Answered() {
			t.Error("an outage ends once")
		}
		for range 2 {
			if !g.Open() {
				t.Error("it is closed after the outage")
			}
		}
	})
}
