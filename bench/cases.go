package main

import (
	"context"
	"slices"
	"time"
)

// sizes are how much a case does.
type sizes struct {
	one, callers, bulk int // jobs to enqueue in each way
	warm               int // jobs that a crew does before it is measured
	warmNode           int // the same in Node, whose compiler needs some thousands
	warmDurable        int // the same out of SQL, where each takes longer
	drain              int // jobs to drain
	distant            int // jobs to drain from afar
	durable            int // jobs to drain out of SQL
	backlog            []int
	pickups, gapMS     int // samples, and the most milliseconds between them
	polled, pollMS     int // the same of those that look into an idle queue now and then
	delayed            int
	delayMS            float64
	memory             int
	httpSeconds        float64
	mails              int
	live               liveSizes
	fleet              fleetSizes
}

var (
	full = sizes{
		one: 5_000, callers: 50_000, bulk: 100_000, warm: 2_000, warmNode: 10_000, warmDurable: 1_000, drain: 50_000, distant: 20_000, durable: 20_000,
		backlog: []int{1_000, 100_000, 1_000_000}, pickups: 150, gapMS: 80, polled: 15, pollMS: 1_000, delayed: 1_000, delayMS: 2_000,
		memory: 20_000, httpSeconds: 5, mails: 3_000,
		live:  liveSizes{clients: 2_000, callers: 200, window: 10, rate: 10, settle: 2 * time.Second, each: 3 * time.Second, flood: 80_000_000},
		fleet: fleetSizes{settle: time.Second, each: 3 * time.Second, idle: 200},
	}
	small = sizes{
		one: 100, callers: 500, bulk: 1_000, warm: 50, warmNode: 50, warmDurable: 50, drain: 500, distant: 300, durable: 300,
		backlog: []int{100, 1_000}, pickups: 5, gapMS: 50, polled: 2, pollMS: 100, delayed: 50, delayMS: 300,
		memory: 500, httpSeconds: 0.5, mails: 60,
		live:  liveSizes{clients: 50, callers: 20, window: 10, rate: 20, settle: 100 * time.Millisecond, each: 300 * time.Millisecond, flood: 8_000_000},
		fleet: fleetSizes{settle: 200 * time.Millisecond, each: 500 * time.Millisecond, idle: 3},
	}
)

// share is so much of what s counts; what it times stays, and so do the samples
// of pickup, of which a percentile needs all.
func (s sizes) share(of float64) sizes {
	for _, n := range []*int{&s.one, &s.callers, &s.bulk, &s.drain, &s.distant, &s.durable, &s.delayed, &s.memory, &s.mails} {
		*n = max(int(float64(*n)*of), 50)
	}
	s.backlog = slices.Clone(s.backlog)
	for i := range s.backlog {
		s.backlog[i] = max(int(float64(s.backlog[i])*of), 100)
	}
	return s
}

// A benchCase measures some figures of each of its contestants.
type benchCase struct {
	name, about string
	program     string // that it runs; the case is left out where it is absent
	rows        []row
	contestants []contestant
	// run measures one contestant once: a figure for each row.
	run func(ctx context.Context, b *bench, c contestant) ([]float64, error)
}

// A row is one figure, for all contestants.
type row struct {
	Name  string `json:"name"`
	Unit  string `json:"unit"`
	Less  bool   `json:"less,omitempty"` // less is better
	Goals []goal `json:"goals,omitempty"`
}

// A goal is what is aimed at: Who's figure over Peer's is at least Factor, or
// at most where less is better. Without a Peer it is the figure itself.
type goal struct {
	Who    string  `json:"who"`
	Peer   string  `json:"peer,omitempty"`
	Factor float64 `json:"factor"`
}

// A contestant is a program of package peers, with the databases it needs.
type contestant struct {
	name  string // in the table
	kind  string // of a Go program; empty for a Node program
	node  string // its file in peers/
	sql   string // postgres, sqlite or none
	redis bool   // of a live contestant: it reaches other processes
	// polls says that it looks into an idle queue about once a second.
	polls bool
}

// The names in the table.
const (
	ours       = "Postrider"
	oursPG     = "Postrider durable (PostgreSQL)"
	oursSQLite = "Postrider durable (SQLite)"
	asynq      = "asynq"
	bullmq     = "BullMQ"
	beeQueue   = "bee-queue"
	river      = "River"

	oursSocketIO = "Postrider socketio"
	oursHub      = "Postrider Hub"
	socketIO     = "socket.io"
)

// columns is the order of the table.
var columns = []string{ours, oursPG, oursSQLite, asynq, bullmq, beeQueue, river, oursSocketIO, oursHub, socketIO}

var (
	postrider         = contestant{name: ours, kind: "postrider"}
	postriderPostgres = contestant{name: oursPG, kind: "postrider-durable", sql: "postgres"}
	postriderSQLite   = contestant{name: oursSQLite, kind: "postrider-durable", sql: "sqlite"}
	plainAsynq        = contestant{name: asynq, kind: "asynq", polls: true}
	bullmqQueue       = contestant{name: bullmq, node: "bullmq-queue.mjs"}
	beeQueueQueue     = contestant{name: beeQueue, node: "bee-queue.mjs"}
	riverQueue        = contestant{name: river, kind: "river", sql: "postgres"}
)

// single says that one process has to put jobs in and carry them out.
func (c contestant) single() bool { return c.sql == "sqlite" }

// warmFor is how many jobs warm a contestant up.
func (s sizes) warmFor(c contestant) int {
	switch {
	case c.sql != "":
		return s.warmDurable
	case c.node != "":
		return s.warmNode
	}
	return s.warm
}

func allCases(s sizes) []benchCase {
	return []benchCase{
		enqueueOne(s), enqueueCallers(s), enqueueBulk(s),
		drain(s, "drain-10", 10, 1, goal{ours, bullmq, 2}, goal{ours, asynq, 5}),
		drain(s, "drain-100", 100, 1, goal{ours, bullmq, 2.5}, goal{ours, asynq, 5}),
		drain(s, "drain-10x2", 10, 2), drain(s, "drain-100x2", 100, 2),
		distant(s), durable(s), backlog(s), pickup(s), delayed(s), memory(s), httpAccept(s), mails(s),
		scale(s.fleet), idle(s.fleet),
		liveRoom(s.live), liveEcho(s.live), liveStalled(s.live), liveTwo(s.live),
	}
}
