package broker

import (
	"slices"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
)

// TestTrimArchived trims what is old, in batches, over all queues, and ids
// whose task is not there too.
func TestTrimArchived(t *testing.T) {
	r := newRig(t, testkit.Redis(t).URL())
	ctx := bound(t)
	look := asynq.NewInspectorFromRedisClient(r.rdb)
	old := float64(time.Now().Add(-8 * 24 * time.Hour).Unix())
	archive := func(queue string, aged bool) job.Task {
		task := durable()
		task.Queue = queue
		r.dispatch(task)
		if err := look.ArchiveTask(queue, task.TaskID()); err != nil {
			t.Fatal(err)
		}
		if aged {
			r.rdb.ZAdd(ctx, queueKey(queue, "archived"), redis.Z{Score: old, Member: task.TaskID()})
		}
		return task
	}
	young := archive("default", false)
	var aged []job.Task
	for range 5 {
		aged = append(aged, archive("default", true), archive("bulk", true))
	}
	r.rdb.ZAdd(ctx, queueKey("bulk", "archived"), redis.Z{Score: old, Member: "orphan"})

	var got []int
	for {
		n, err := r.TrimArchived(ctx, 7*24*time.Hour, 4)
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, n); n < 4 {
			break
		}
	}
	if !slices.Equal(got, []int{4, 4, 3}) {
		t.Errorf("the batches are %v", got)
	}
	for _, task := range aged {
		if r.state(task) != "" {
			t.Errorf("task %s of %s is left", task.ID, task.Queue)
		}
	}
	if r.state(young) != "archived" {
		t.Error("the young one is gone")
	}
	if n := r.rdb.ZCard(ctx, queueKey("bulk", "archived")).Val() + r.rdb.ZCard(ctx, queueKey("default", "archived")).Val(); n != 1 {
		t.Errorf("the archives hold %d ids", n)
	}
}

func TestTrimArchivedWithoutRedis(t *testing.T) {
	server := testkit.Redis(t)
	r := newRig(t, server.URL())
	server.Stop()
	if _, err := r.TrimArchived(bound(t), time.Hour, 10); job.CodeOf(err) != job.CodeTemporary {
		t.Errorf("the error is %v", err)
	}
}
