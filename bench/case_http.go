package main

import (
	"context"
	"fmt"
	"time"

	"github.com/postrider/postrider/bench/stage"
)

// httpAccept is POST /jobs by 64 connections: the same body for all, which
// Postrider takes as an ephemeral or a durable job, and Express hands to BullMQ.
// No worker runs.
func httpAccept(s sizes) benchCase {
	const path = "/jobs"
	body := func(kind string) string {
		return fmt.Sprintf(`{"type":%q,"payload":{"pad":"%0120d"}}`, kind, 0)
	}
	seconds := time.Duration(s.httpSeconds * float64(time.Second))
	return benchCase{
		name: "http", about: "POST /jobs by 64 connections of wrk", program: "wrk",
		rows: []row{{Name: "http", Unit: "requests/s", Goals: []goal{
			{ours, bullmq, 6}, {oursSQLite, bullmq, 2}, {oursPG, bullmq, 2},
		}}},
		contestants: []contestant{
			{name: ours, kind: "postrider-http", sql: "sqlite"}, // which it has to have, and does not ask
			{name: oursPG, kind: "postrider-http", sql: "postgres"},
			{name: oursSQLite, kind: "postrider-http", sql: "sqlite"},
			{name: bullmq, node: "express-bullmq.mjs"},
		},
		run: func(ctx context.Context, b *bench, c contestant) ([]float64, error) {
			spec, err := b.setUp(ctx, c)
			if err != nil {
				return nil, err
			}
			var server struct{ Addr string }
			a, err := b.startServer(ctx, c, spec, &server)
			if err != nil {
				return nil, err
			}
			defer a.Close()
			kind := "noop"
			if c.name == ours {
				kind = "noop:ephemeral"
			}
			load := stage.Load{Addr: server.Addr, Path: path, Body: body(kind), Callers: 64}
			perSecond, err := load.Run(ctx, seconds/4, seconds)
			if err != nil {
				return nil, err
			}
			return []float64{perSecond}, a.Close()
		},
	}
}
