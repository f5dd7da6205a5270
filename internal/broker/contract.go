package broker

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// op is one of asynq's scripts that the layer answers for, hands on in company
// or tries again.
type op string

const (
	opEnqueue    op = "enqueue"
	opSchedule   op = "schedule"
	opDequeue    op = "dequeue"
	opDone       op = "done"
	opDoneUnique op = "done, unique"
	opRetry      op = "retry"
	opArchive    op = "archive"
	opForward    op = "forward"
)

// shape is what the layer takes for granted of a script: how many keys and
// arguments it is given.
type shape struct {
	op         op
	keys, args int
}

// knownScripts are those of asynq v0.26.0 (its internal/rdb), by the SHA-1 of
// their text, which is also what Redis calls a script by.
var knownScripts = map[string]shape{
	"98d28b42650870a743450ffda9791e9e19c6991b": {opEnqueue, 2, 3},
	"8ce6b38a99b73194585c251eb3c2a89559f37a87": {opSchedule, 2, 3},
	"a8153319360adc71cdc370107f8ab9786f204765": {opDequeue, 4, 2},
	"1241eaa1c73409baaf1fea0c08d203a4911bda15": {opDone, 5, 3},
	"a2631c71357a54b4c3e7450b1757e7f3f49d6c81": {opDoneUnique, 6, 3},
	"65fa409c88198a681c53e0892d8276eca0145694": {opRetry, 8, 6},
	"9c3b1eb9947ce2ee5304ac013a0a365ec364fd2d": {opArchive, 9, 7},
	"522b1a6ae66fe79ea2f24a9af58798ab71879035": {opForward, 2, 4},
}

// knownMessages are written by asynq as we write them: with all fields, with a header, and with
// as few as a durable task has.
var knownMessages = []message{
	{typ: "known:full", id: "a", queue: "default", payload: []byte(`{"to":"a@example.com"}`), retry: 3, timeout: 90 * time.Minute},
	{typ: "known:traced", id: "t", queue: "default", payload: []byte(`{}`), retry: 3, timeout: time.Second, trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
	{typ: "known:bare", id: "b~1", queue: "bulk", retry: math.MaxInt32, timeout: time.Second},
}

// rehearsalLimit bounds a rehearsal, which takes some milliseconds.
const rehearsalLimit = 5 * time.Second

// contract is what asynq was seen to do.
type contract struct {
	ops      map[string]op     // by a script's SHA-1
	schedule string            // the SHA-1 of opSchedule's
	texts    map[string]string // of all scripts that the layer sends, by SHA-1
	err      error             // why the layer cannot be used
	told     sync.Once
}

// asynqContract is that of the asynq that this program was built with.
var asynqContract = sync.OnceValue(func() *contract { return rehearse(knownScripts, knownMessages, rehearsalLimit) })

// kept reports whether asynq is as the layer needs it. That it is not is
// logged once.
func (c *contract) kept(log *slog.Logger) bool {
	if c.err == nil {
		return true
	}
	c.told.Do(func() {
		log.Warn("asynq is not the one that the broker layer was made for; it runs plain", "err", c.err)
	})
	return false
}

// rehearse lets asynq enqueue, delay, forward, fetch, acknowledge, retry and
// archive tasks on a stage instead of Redis, and compares the scripts that it
// sends with the known ones, and the messages with our own. asynq's scripts are
// private; what it sends is what counts anyway.
func rehearse(known map[string]shape, messages []message, limit time.Duration) *contract {
	s := &stage{known: known, seen: map[op]bool{}, texts: map[string]string{}, full: make(chan struct{})}
	nowhere := redis.NewClient(&redis.Options{
		Dialer:     func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("a rehearsal") },
		MaxRetries: -1,
	})
	defer nowhere.Close()
	s.UniversalClient = nowhere

	c := &contract{ops: map[string]op{}, texts: s.texts}
	for sha, script := range known {
		c.ops[sha] = script.op
		if script.op == opSchedule {
			c.schedule = sha
		}
	}
	for _, script := range ownScripts {
		c.texts[script.Hash()] = script.text
	}
	if err := s.play(messages, limit); err != nil {
		c.err = fmt.Errorf("rehearsing with asynq: %w", err)
	}
	return c
}

// stage answers asynq in the place of Redis.
type stage struct {
	redis.UniversalClient
	known map[string]shape
	full  chan struct{} // closed when all known scripts were seen

	mu      sync.Mutex
	texts   map[string]string
	seen    map[op]bool
	tasks   [][]byte // enqueued, not fetched
	strange error
}

func (s *stage) play(messages []message, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	client := asynq.NewClientFromRedisClient(s)
	for name, opts := range map[string][]asynq.Option{
		"done":    nil,
		"unique":  {asynq.Unique(time.Minute)},
		"retry":   nil,
		"archive": nil,
		"later":   {asynq.ProcessIn(time.Hour)},
	} {
		if _, err := client.EnqueueContext(ctx, asynq.NewTask(name, nil), opts...); err != nil {
			return fmt.Errorf("enqueueing: %w", err)
		}
	}
	for _, m := range messages {
		task, opts := m.forAsynq()
		if _, err := client.EnqueueContext(ctx, task, opts...); err != nil {
			return fmt.Errorf("enqueueing a message: %w", err)
		}
		if last := s.tasks[len(s.tasks)-1]; !bytes.Equal(last, m.encode()) {
			return fmt.Errorf("it writes the message of a task of type %s in another way", m.typ)
		}
	}
	server := asynq.NewServerFromRedisClient(s, asynq.Config{
		Concurrency: 1, TaskCheckInterval: time.Millisecond, DelayedTaskCheckInterval: time.Millisecond,
		Logger: quietLog{slog.New(slog.DiscardHandler)},
	})
	err := server.Start(asynq.HandlerFunc(func(_ context.Context, t *asynq.Task) error {
		switch t.Type() {
		case "retry":
			return errors.New("once more")
		case "archive":
			return asynq.SkipRetry
		}
		return nil
	}))
	if err != nil {
		return fmt.Errorf("starting a server: %w", err)
	}
	select {
	case <-s.full:
	case <-ctx.Done():
	}
	server.Shutdown()
	return s.verdict()
}

// verdict names what was not as it is known.
func (s *stage) verdict() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.strange != nil {
		return s.strange
	}
	var missing []string
	for _, script := range s.known {
		if !s.seen[script.op] {
			missing = append(missing, string(script.op))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return fmt.Errorf("it does not send the known scripts for: %s", strings.Join(missing, "; "))
}

// EvalSha knows no script, so that asynq sends its text.
func (s *stage) EvalSha(ctx context.Context, _ string, _ []string, _ ...any) *redis.Cmd {
	return answer(ctx, nil, redis.ErrNoScript)
}

func (s *stage) Eval(ctx context.Context, text string, keys []string, args ...any) *redis.Cmd {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := sha1.Sum([]byte(text))
	sha := hex.EncodeToString(sum[:])
	for _, arg := range args {
		// Of what is enqueued the message is the one argument of bytes.
		if msg, ok := arg.([]byte); ok && strings.Contains(text, "LPUSH") && !strings.Contains(text, "LREM") {
			s.tasks = append(s.tasks, msg)
		}
	}
	script, known := s.known[sha]
	if known {
		s.see(sha, text, script, len(keys), len(args))
	}
	switch {
	case script.op == opDequeue && len(s.tasks) == 0:
		return answer(ctx, nil, redis.Nil)
	case script.op == opDequeue:
		msg := s.tasks[0]
		s.tasks = s.tasks[1:]
		return answer(ctx, string(msg), nil)
	case script.op == opForward:
		return answer(ctx, int64(0), nil)
	case !known && len(args) < 4 && strings.Contains(text, "ZRANGEBYSCORE"):
		return answer(ctx, []any{}, nil) // lists of tasks
	}
	return answer(ctx, int64(1), nil)
}

func (s *stage) see(sha, text string, script shape, keys, args int) {
	s.texts[sha] = text
	if keys != script.keys || args != script.args {
		s.strange = fmt.Errorf("the script %q has %d keys and %d arguments, not %d and %d", script.op, keys, args, script.keys, script.args)
	}
	s.seen[script.op] = true
	if len(s.seen) == len(s.known) {
		select {
		case <-s.full:
		default:
			close(s.full)
		}
	}
}

func (s *stage) SAdd(context.Context, string, ...any) *redis.IntCmd {
	return redis.NewIntResult(1, nil)
}

func (s *stage) ZAdd(context.Context, string, ...redis.Z) *redis.IntCmd {
	return redis.NewIntResult(1, nil)
}

func (s *stage) ZRem(context.Context, string, ...any) *redis.IntCmd {
	return redis.NewIntResult(1, nil)
}

// answer is a command that was answered.
func answer(ctx context.Context, value any, err error) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	cmd.SetVal(value)
	cmd.SetErr(err)
	return cmd
}
