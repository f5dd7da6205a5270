package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/bench/stage"
	"github.com/postrider/postrider/internal/broker"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/work"
	"github.com/postrider/postrider/tasks"
)

// workers is how many of them share the limit.
const workers = 3

// nothing is the job type of the measured jobs.
var nothing = tasks.Define[tasks.Nothing](tasks.Type{Name: "bench:nothing", Ephemeral: true})

// measureLimit has three workers carry out more jobs than the limit allows and
// counts those that began, in each second and altogether.
func measureLimit(ctx context.Context, out io.Writer, rate int, d time.Duration) (err error) {
	rdb, err := stage.StartRedis(ctx)
	if err != nil {
		return err
	}
	defer ended(&err, rdb.Close)
	types, err := tasks.NewCatalogue(nothing.Type)
	if err != nil {
		return err
	}
	rules := limit.Rules{limit.OfQueue(nothing.Queue): {Rate: limit.Rate{N: rate, Per: time.Second}}}
	var mu sync.Mutex
	var starts []time.Time
	note := func() {
		mu.Lock()
		defer mu.Unlock()
		starts = append(starts, time.Now())
	}
	for i := range workers {
		stop, err := startWorker(ctx, rdb.Addr, fmt.Sprint("worker-", i), types, rules, note, i == 0, 2*rate*int(d.Seconds()))
		if err != nil {
			return err
		}
		defer ended(&err, stop)
	}
	timer := time.NewTimer(d + time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	mu.Lock()
	defer mu.Unlock()
	slices.SortFunc(starts, time.Time.Compare)
	if len(starts) == 0 {
		return fmt.Errorf("no job began")
	}
	most, total := 0, 0
	for i, from := range starts {
		n := 0
		for ; i+n < len(starts) && starts[i+n].Sub(from) < time.Second; n++ {
		}
		most = max(most, n)
		if from.Sub(starts[0]) < d {
			total++
		}
	}
	client := redis.NewClient(&redis.Options{Addr: rdb.Addr})
	defer ended(&err, client.Close)
	info, err := client.Info(ctx, "commandstats").Result()
	if err != nil {
		return fmt.Errorf("asking Redis for its statistics: %w", err)
	}
	fmt.Fprintf(out, "\n%d workers under a limit of %d/s have %d jobs waiting, for %v.\n\n", workers, rate, 2*rate*int(d.Seconds()), d)
	fmt.Fprintln(out, "| what | figure |\n|---|---|")
	fmt.Fprintf(out, "| most that began in any second | %d |\n", most)
	fmt.Fprintf(out, "| began altogether | %d, %.1f %% of what is allowed |\n", total, 100*float64(total)/(float64(rate)*d.Seconds()))
	fmt.Fprintf(out, "| scripts that Redis carried out a job that began | %.1f |\n", callsOf(info, "cmdstat_evalsha:")/float64(len(starts)))
	return nil
}

// startWorker starts a worker; the first puts the jobs in.
func startWorker(ctx context.Context, addr, name string, types *tasks.Catalogue, rules limit.Rules, note func(), first bool, jobs int) (stop func() error, err error) {
	queues := broker.Queues{{Name: nothing.Queue, Concurrency: 10}}
	rdb, err := broker.Connect(broker.Config{RedisURL: "redis://" + addr + "/0", Queues: queues})
	if err != nil {
		return nil, err
	}
	fleet := limit.NewFleet(rdb, rules, quiet())
	fleet.Start()
	w, err := work.New(work.Options{
		Name: name, Types: types, Limits: fleet, Log: quiet(), Metrics: prometheus.NewRegistry(),
		Config: work.Config{ShutdownLimit: 35 * time.Second, StopGrace: 5 * time.Second, ContainerGrace: time.Minute},
		Handlers: []work.Binding{work.On(nothing, func(context.Context, *work.Run, *tasks.Nothing) job.Outcome {
			note()
			return job.Succeeded("")
		})},
	})
	if err != nil {
		return nil, err
	}
	if first {
		if err := fill(ctx, broker.NewClient(broker.Options{
			Redis: rdb, Queues: queues, Types: types, Margin: 20 * time.Second, Log: quiet(),
		}), jobs); err != nil {
			return nil, err
		}
	}
	server := broker.NewServer(broker.ServerOptions{Redis: rdb, Queues: queues, Types: types, Handler: w, OnCancel: w.CancelHint, Log: quiet()})
	w.Start()
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("starting a worker: %w", err)
	}
	return func() (err error) {
		server.Quiet()
		defer ended(&err, rdb.Close)
		defer fleet.Stop()
		ended(&err, func() error { return w.Shutdown(context.WithoutCancel(ctx)) }, func() error { return server.Shutdown(context.WithoutCancel(ctx)) })
		return err
	}, nil
}

func fill(ctx context.Context, client *broker.Client, n int) error {
	ts := make([]job.Task, n)
	for i := range ts {
		ts[i] = job.Task{ID: job.NewID(), Type: nothing.Name, Queue: nothing.Queue, Payload: []byte(`{}`)}
	}
	if _, err := client.Dispatch(ctx, ts); err != nil {
		return fmt.Errorf("putting jobs in: %w", err)
	}
	return nil
}

func usecOf(info, command string) float64  { return statOf(info, command, "usec=") }
func callsOf(info, command string) float64 { return statOf(info, command, "calls=") }

// statOf reads a figure out of Redis' INFO commandstats.
func statOf(info, command, field string) float64 {
	for line := range strings.Lines(info) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), command)
		if !ok {
			continue
		}
		for part := range strings.SplitSeq(rest, ",") {
			if text, ok := strings.CutPrefix(part, field); ok {
				n, err := strconv.ParseFloat(text, 64)
				if err != nil {
					return 0
				}
				return n
			}
		}
	}
	return 0
}
