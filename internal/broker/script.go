package broker

import (
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// script is one of the layer's own, which keeps its text: a pipeline has to
// load it itself.
type script struct {
	*redis.Script
	text string
}

// ownScripts are all of them.
var ownScripts []*script

func newScript(text string) *script {
	s := &script{redis.NewScript(text), text}
	ownScripts = append(ownScripts, s)
	return s
}

// dueTime is when a delayed task is due, in Unix milliseconds. asynq scores its
// delayed sets in seconds; the layer's scores have milliseconds as fractions,
// which asynq's reader cuts off.
type dueTime int64

// dueAt rounds up, so that no task comes early.
func dueAt(t time.Time) dueTime {
	return dueTime(t.Add(time.Millisecond - 1).UnixMilli())
}

// score is the due time as the score of a sorted set.
func (d dueTime) score() string {
	ms := strconv.FormatInt(int64(d), 10)
	if len(ms) < 4 {
		return "0"
	}
	return ms[:len(ms)-3] + "." + ms[len(ms)-3:]
}
