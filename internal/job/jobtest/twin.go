package jobtest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// twin is a store beside its model: it does everything with both and fails
// the test where their answers differ. It answers what the store did.
type twin struct {
	store job.Store
	clock Clock
	model *Memory
	fail  func(format string, args ...any) // ends the test
}

var _ job.Store = (*twin)(nil)

// both makes one call on the model and then on the store. same says how two
// good answers differ, if they do.
func both[T any](t *twin, doing string, call func(job.Store) (T, error), same func(got, want T) string) (T, error) {
	t.model.Clock.Set(t.clock.Now())
	want, wantErr := call(t.model)
	got, err := call(t.store)
	if job.CodeOf(err) != job.CodeOf(wantErr) {
		t.fail("%s: the store's error is %v, the model's %v", doing, err, wantErr)
	}
	if err == nil {
		if d := same(got, want); d != "" {
			t.fail("%s: the store's answer is not the model's: %s", doing, d)
		}
	}
	return got, err
}

// only is both for calls that answer nothing but an error.
func only(t *twin, doing string, call func(job.Store) error) error {
	_, err := both(t, doing, func(s job.Store) (struct{}, error) { return struct{}{}, call(s) }, sameValue)
	return err
}

func sameValue[T comparable](got, want T) string {
	if got == want {
		return ""
	}
	return fmt.Sprintf("%v, want %v", got, want)
}

func sameFields[T any](got, want T) string { return diff(got, want, slack) }

func sameClaimed(got, want job.Claimed) string {
	if d := sameFields(got.Job, want.Job); d != "" {
		return d
	}
	got.Job, want.Job = job.Job{}, job.Job{}
	return sameFields(got, want)
}

// sameSet compares lists whatever their order: it hangs on times, which may
// be a little apart.
func sameSet[T any](key func(T) string, same func(got, want T) string) func(got, want []T) string {
	return func(got, want []T) string {
		if len(got) != len(want) {
			return fmt.Sprintf("%d of them, want %d: %v, want %v", len(got), len(want), got, want)
		}
		order := func(a, b T) int { return cmp.Compare(key(a), key(b)) }
		got, want = slices.SortedFunc(slices.Values(got), order), slices.SortedFunc(slices.Values(want), order)
		for i := range got {
			if d := same(got[i], want[i]); d != "" {
				return fmt.Sprintf("%s: %s", key(want[i]), d)
			}
		}
		return ""
	}
}

var (
	sameIDs  = sameSet(func(id job.ID) string { return string(id) }, sameValue)
	sameJobs = sameSet(func(j job.Job) string { return string(j.ID) }, sameFields)
)

func (t *twin) Accept(ctx context.Context, r job.Request) (job.Receipt, error) {
	return both(t, "accepting", func(s job.Store) (job.Receipt, error) { return s.Accept(ctx, r) }, sameFields)
}

func (t *twin) Replay(ctx context.Context, key job.IdempotencyKey) (job.Replay, bool, error) {
	type answer struct {
		job.Replay
		met bool
	}
	got, err := both(t, "looking a key up", func(s job.Store) (answer, error) {
		first, met, err := s.Replay(ctx, key)
		return answer{first, met}, err
	}, func(got, want answer) string {
		if got.met != want.met || got.Base != want.Base || len(got.Jobs) != len(want.Jobs) {
			return fmt.Sprintf("%+v, want %+v", got, want)
		}
		return ""
	})
	return got.Replay, got.met, err
}

func (t *twin) Change(ctx context.Context, ids []job.ID, decide job.Decision) ([]job.Job, error) {
	return both(t, "changing", func(s job.Store) ([]job.Job, error) { return s.Change(ctx, ids, decide) }, sameJobs)
}

func (t *twin) MarkDispatched(ctx context.Context, sent []job.Task) error {
	return only(t, "noting dispatches", func(s job.Store) error { return s.MarkDispatched(ctx, sent) })
}

func (t *twin) Claim(ctx context.Context, c job.Claim) (job.Claimed, error) {
	return both(t, "claiming", func(s job.Store) (job.Claimed, error) { return s.Claim(ctx, c) }, sameClaimed)
}

func (t *twin) Extend(ctx context.Context, lease time.Duration, runs []job.RunRef) (map[job.RunRef]job.Extended, error) {
	return both(t, "extending",
		func(s job.Store) (map[job.RunRef]job.Extended, error) { return s.Extend(ctx, lease, runs) },
		func(got, want map[job.RunRef]job.Extended) string {
			return sameValue(fmt.Sprint(got), fmt.Sprint(want))
		})
}

func (t *twin) PassNoReturn(ctx context.Context, run job.RunRef) error {
	return only(t, "passing the point of no return", func(s job.Store) error { return s.PassNoReturn(ctx, run) })
}

func (t *twin) Settle(ctx context.Context, settlement job.Settlement) (job.Settled, error) {
	return both(t, "settling", func(s job.Store) (job.Settled, error) { return s.Settle(ctx, settlement) }, sameFields)
}

func (t *twin) Find(ctx context.Context, id job.ID) (job.Job, error) {
	return both(t, "finding", func(s job.Store) (job.Job, error) { return s.Find(ctx, id) }, sameFields)
}

func (t *twin) Events(ctx context.Context, id job.ID) ([]job.Event, error) {
	return both(t, "reading events", func(s job.Store) ([]job.Event, error) { return s.Events(ctx, id) },
		func(got, want []job.Event) string {
			if len(got) != len(want) {
				return fmt.Sprintf("%v, want %v", got, want)
			}
			for i := range got {
				if d := sameFields(got[i], want[i]); d != "" {
					return fmt.Sprintf("event %d: %s", i, d)
				}
			}
			return ""
		})
}

func (t *twin) List(ctx context.Context, f job.Filter) ([]job.Job, error) {
	return both(t, "listing", func(s job.Store) ([]job.Job, error) { return s.List(ctx, f) }, sameJobs)
}

func (t *twin) Count(ctx context.Context, f job.Filter) (int, error) {
	return both(t, "counting", func(s job.Store) (int, error) { return s.Count(ctx, f) }, sameValue)
}

// The events' numbers are the store's own.
func (t *twin) EventsAfter(ctx context.Context, seq int64, limit int) (job.EventPage, error) {
	return t.store.EventsAfter(ctx, seq, limit)
}

func (t *twin) EventsEnd(ctx context.Context) (seq, mark int64, err error) {
	return t.store.EventsEnd(ctx)
}

func (t *twin) Now(ctx context.Context) (time.Time, error) {
	return both(t, "reading the time", func(s job.Store) (time.Time, error) { return s.Now(ctx) },
		func(got, want time.Time) string {
			if alike(got, want, slack) {
				return ""
			}
			return fmt.Sprintf("%v, want %v", got, want)
		})
}

func (t *twin) Undispatched(ctx context.Context, age time.Duration, limit int) ([]job.Task, error) {
	return both(t, "listing the undispatched",
		func(s job.Store) ([]job.Task, error) { return s.Undispatched(ctx, age, limit) }, sameSet(job.Task.TaskID, sameFields))
}

func (t *twin) DeadLeases(ctx context.Context, limit int) ([]job.ID, error) {
	return both(t, "listing dead leases", func(s job.Store) ([]job.ID, error) { return s.DeadLeases(ctx, limit) }, sameIDs)
}

func (t *twin) Overdue(ctx context.Context, limit int) ([]job.ID, error) {
	return both(t, "listing the overdue", func(s job.Store) ([]job.ID, error) { return s.Overdue(ctx, limit) }, sameIDs)
}

func (t *twin) Unclaimed(ctx context.Context, queue string, age time.Duration, after job.Cursor, limit int) ([]job.Task, job.Cursor, error) {
	var next job.Cursor
	same := sameSet(job.Task.TaskID, sameFields)
	tasks, err := both(t, "listing the unclaimed", func(s job.Store) (tasks []job.Task, err error) {
		tasks, next, err = s.Unclaimed(ctx, queue, age, after, limit)
		return tasks, err
	}, same)
	return tasks, next, err
}

func (t *twin) Lead(ctx context.Context, name, holder string, ttl time.Duration) (bool, error) {
	return both(t, "leading", func(s job.Store) (bool, error) { return s.Lead(ctx, name, holder, ttl) }, sameValue)
}

func (t *twin) Yield(ctx context.Context, name, holder string) error {
	return only(t, "yielding", func(s job.Store) error { return s.Yield(ctx, name, holder) })
}

func (t *twin) Purge(ctx context.Context, r job.Retention, limit int) (int, error) {
	return both(t, "purging", func(s job.Store) (int, error) { return s.Purge(ctx, r, limit) }, sameValue)
}
