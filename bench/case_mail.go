package main

import (
	"context"
	"fmt"
	"time"

	"github.com/postrider/postrider/bench/stage"
)

// mails is the whole way of a mail from the queue to an SMTP server on this
// machine, by 20 senders. The clock runs over the last nine tenths, counted
// where the mails arrive.
func mails(s sizes) benchCase {
	return benchCase{
		name: "mails", about: fmt.Sprintf("send %d waiting mails to an SMTP sink, concurrency 20", s.mails),
		rows: []row{{Name: "mails", Unit: "mails/s", Goals: []goal{{oursPG, bullmq, 2}, {oursSQLite, bullmq, 2}}}},
		contestants: []contestant{
			{name: oursPG, kind: "postrider-mail", sql: "postgres"},
			{name: oursSQLite, kind: "postrider-mail", sql: "sqlite"},
			{name: bullmq, node: "bullmq-mail.mjs"},
		},
		run: func(ctx context.Context, b *bench, c contestant) ([]float64, error) {
			sink, err := stage.NewSink()
			if err != nil {
				return nil, err
			}
			defer sink.Close()
			spec, err := b.setUp(ctx, c)
			if err != nil {
				return nil, err
			}
			spec.SMTP = sink.Addr
			a, err := b.start(ctx, c, spec)
			if err != nil {
				return nil, err
			}
			defer a.Close()
			if err := a.Do(ctx, "add", map[string]any{"jobs": s.mails, "bulk": 1000}, nil); err != nil {
				return nil, err
			}
			if err := a.Do(ctx, "flush", nil, nil); err != nil {
				return nil, err
			}
			if err := a.Do(ctx, "work", map[string]any{"concurrency": 20}, nil); err != nil {
				return nil, err
			}
			began, first, err := arrived(ctx, sink, s.mails/10)
			if err != nil {
				return nil, err
			}
			ended, all, err := arrived(ctx, sink, s.mails)
			if err != nil {
				return nil, err
			}
			return []float64{float64(all-first) / ended.Sub(began).Seconds()}, a.Close()
		},
	}
}

// arrived waits for n mails, and tells how many there are then and since when.
func arrived(ctx context.Context, sink *stage.Sink, n int) (time.Time, int, error) {
	for {
		got, last := sink.Mails()
		if got >= n {
			return last, got, nil
		}
		if err := sleep(ctx, 2*time.Millisecond); err != nil {
			return last, got, fmt.Errorf("waiting for mail %d, %d have come: %w", n, got, err)
		}
	}
}
