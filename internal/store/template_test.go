package store_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/store"
)

// A template's source is kept once, and as long as a job may need it that was
// pinned to it.
func TestTemplates(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		t.Parallel()
		clock := jobtest.NewClock()
		s := open(t, url, store.Options{Clock: clock.Now})
		ctx := t.Context()
		keep := func(name string) {
			t.Helper()
			if err := s.KeepTemplate(ctx, hashOf(name), []byte(`{"name":"`+name+`"}`)); err != nil {
				t.Fatal(err)
			}
		}
		there := func(name string) bool {
			t.Helper()
			source, err := s.LoadTemplate(ctx, hashOf(name))
			if err != nil && job.CodeOf(err) != job.CodeNotFound {
				t.Fatal(err)
			}
			if err == nil && !bytes.Equal(source, []byte(`{"name":"`+name+`"}`)) {
				t.Errorf("of %s there is %s", name, source)
			}
			return err == nil
		}
		if there("a") {
			t.Error("it is there before it is kept")
		}
		for _, name := range []string{"a", "b", "a"} {
			keep(name)
		}

		retention := job.Retention{Done: time.Hour, Bodies: time.Hour, Failed: 90 * 24 * time.Hour}
		longest := job.MaxDelay + retention.Failed + 24*time.Hour
		purge := func() int {
			t.Helper()
			n, err := s.Purge(ctx, retention, 100)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		clock.Advance(30 * time.Minute)
		keep("a") // which is too early to be noted
		clock.Advance(longest - 30*time.Minute - time.Second)
		if n := purge(); n != 0 || !there("a") || !there("b") {
			t.Errorf("%d are purged early", n)
		}
		keep("b") // in use again
		clock.Advance(time.Minute)
		if n := purge(); n != 1 || there("a") || !there("b") {
			t.Errorf("%d are purged: a is there: %v, b: %v", n, there("a"), there("b"))
		}
		keep("a")
		if !there("a") {
			t.Error("it is not kept anew")
		}
	})
}

func hashOf(name string) string { return strings.Repeat(name, 64) }
