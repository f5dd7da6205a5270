package rounds_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/rounds"
	"github.com/postrider/postrider/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An outage is told of once at its beginning and once at its end.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := testkit.CaptureLog(t)
		var made atomic.Int32
		r := &rounds.Rounds{Every: time.Second, Log: log, Failing: "it fails", Well: "it is well", Round: func(context.Context) error {
			if n := made.Add(1); n == 2 || n == 3 {
				return errors.New("away")
			}
			return nil
		}}
		r.Start()
		for want := int32(1); want <= 5; want++ {
			synctest.Wait()
			if made.Load() != want {
				t.Fatalf("%d rounds, want %d", made.Load(), want)
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		r.Stop()
		text := lines.String()
		if strings.Count(text, "it fails") != 1 || strings.Count(text, "it is well") != 1 {
			t.Errorf("the log is\n%s", text)
		}
	})
}

func TestNudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := testkit.CaptureLog(t)
		var made atomic.Int32
		nudged := make(chan struct{})
		r := &rounds.Rounds{Every: time.Hour, Nudged: nudged, Log: log, Round: func(context.Context) error { made.Add(1); return nil }}
		r.Start()
		nudged <- struct{}{}
		synctest.Wait()
		if made.Load() != 2 {
			t.Errorf("%d rounds, want 2", made.Load())
		}
		r.Stop()
	})
}

// Stop ends the round that is under way, which is no outage.
func TestStop(t *testing.T) {
	log, lines := testkit.CaptureLog(t)
	begun := make(chan struct{})
	r := &rounds.Rounds{Every: time.Hour, Log: log, Failing: "it fails", Round: func(ctx context.Context) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	}}
	r.Start()
	<-begun
	r.Stop()
	if strings.Contains(lines.String(), "it fails") {
		t.Error("being stopped is told of as an outage")
	}
	new(rounds.Rounds).Stop()
}
