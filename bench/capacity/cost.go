package main

import (
	"context"
	"strings"
)

// kind is a kind of job that is measured.
type kind struct {
	name           string // for people
	jobType, queue string
	path, body     string // a request that makes one; if batched, an entry of POST /jobs/batch
	batched        bool
}

// A job of no effect, and one whose mail goes to a server that takes everything.
const (
	noop = `{"type":"noop","payload":{"pad":"Thanks for signing up"}}`
	mail = `{"email":"user@example.com","subject":"Welcome","message":"Thanks for signing up."}`
)

// kinds take their slots for no longer than they have to.
var kinds = []kind{
	{name: "ephemeral", jobType: "noop:ephemeral", queue: "default", path: "/jobs", body: strings.Replace(noop, "noop", "noop:ephemeral", 1)},
	{name: "durable", jobType: "noop", queue: "default", path: "/jobs", body: noop},
	{name: "durable, in batches", jobType: "noop", queue: "default", body: noop, batched: true},
	{name: "mail", jobType: "email:send", queue: "email", path: "/jobs/send-email", body: mail},
}

// usage is what is used: seconds of processor time, and bytes.
type usage struct {
	api, worker, redis, postgres float64
	waiting                      float64 // in Redis
	log                          float64 // written to PostgreSQL's write-ahead log
}

// over is what came on top of before, for each of n.
func (u usage) over(before usage, n int) usage {
	per := func(a, b float64) float64 { return (a - b) / float64(n) }
	return usage{
		per(u.api, before.api), per(u.worker, before.worker), per(u.redis, before.redis), per(u.postgres, before.postgres),
		per(u.waiting, before.waiting), per(u.log, before.log),
	}
}

// cost is what one job takes to be accepted and to be run, and the bytes that
// PostgreSQL keeps of it.
type cost struct {
	kind
	accept, run usage
	kept        float64
}

// share is the part of the jobs that the smaller turn has.
const share = 10

// measure has two turns, of a few jobs and of many. What the second one takes on
// top is the jobs' alone: what starting a worker takes is in both.
func (r *rig) measure(ctx context.Context, k kind, jobs int) (c cost, err error) {
	few, err := r.turn(ctx, k, jobs/share)
	if err != nil {
		return c, err
	}
	many, err := r.turn(ctx, k, jobs)
	if err != nil {
		return c, err
	}
	n := jobs - jobs/share
	c = cost{
		kind: k, accept: many.accept.over(few.accept, n), run: many.run.over(few.run, n),
		kept: (many.kept - few.kept) / float64(n),
	}
	// Few jobs are less than Redis' connections take, of which there are as many
	// in the second turn as after the first.
	c.accept.waiting = many.accept.waiting / float64(jobs)
	return c, nil
}

// turn puts jobs in without a worker and then has one carry them out. It returns
// what all of them took.
func (r *rig) turn(ctx context.Context, k kind, jobs int) (c cost, err error) {
	before, err := r.kept(ctx)
	if err != nil {
		return c, err
	}
	empty, err := r.read(ctx)
	if err != nil {
		return c, err
	}
	if err := r.put(ctx, k, jobs); err != nil {
		return c, err
	}
	if err := r.await(ctx, k, jobs, r.waiting); err != nil {
		return c, err
	}
	full, err := r.read(ctx)
	if err != nil {
		return c, err
	}
	if err := r.fleet.StartWorkers(ctx, 1); err != nil {
		return c, err
	}
	if err := r.await(ctx, k, jobs, r.done); err != nil {
		return c, err
	}
	done, err := r.read(ctx)
	if err != nil {
		return c, err
	}
	if err := r.fleet.StopWorkers(); err != nil {
		return c, err
	}
	after, err := r.kept(ctx)
	return cost{kind: k, accept: full.over(empty, 1), run: done.over(full, 1), kept: after - before}, err
}
