package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/postrider/postrider/bench/peers"
	"github.com/postrider/postrider/bench/stage"
)

// turnLimit bounds one contestant's measuring once.
const turnLimit = 10 * time.Minute

// bench is the servers and programs that all cases share.
type bench struct {
	program  string // our own file
	redis    *stage.Redis
	postgres *stage.Postgres // nil where absent
	node     string          // empty where absent
	dir      string          // for SQLite's files
	files    int             // of them so far
	profile  string          // folder for CPU profiles; empty for none
	only     []string        // contestants to measure; all when empty
	absent   []string        // what is left out, and why
	log      io.Writer
}

// open starts the servers that the cases need. What a peer needs may be absent:
// then that peer is.
func open(ctx context.Context, log io.Writer, cases []benchCase, only []string) (_ *bench, err error) {
	b := &bench{log: log, only: only}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.program, err = os.Executable(); err != nil {
		return nil, fmt.Errorf("finding our own program: %w", err)
	}
	if b.dir, err = os.MkdirTemp("", "postrider-bench-"); err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	if b.redis, err = stage.StartRedis(ctx); err != nil {
		return nil, err
	}
	if b.need(cases, func(c contestant) bool { return c.sql == "postgres" }) {
		if b.postgres, err = stage.StartPostgres(ctx); errors.Is(err, stage.ErrAbsent) {
			b.leaveOut("what needs PostgreSQL: " + err.Error())
		} else if err != nil {
			return nil, err
		}
	}
	if b.need(cases, func(c contestant) bool { return c.node != "" }) {
		if b.node, err = installNode(ctx, log); err != nil {
			b.leaveOut("what runs on Node: " + err.Error())
		}
	}
	for _, c := range cases {
		if !installed(c.program) {
			b.leaveOut(c.name + ": " + c.program + " is not installed here")
		}
	}
	return b, nil
}

// installed reports whether a program can be run; no name is none that is needed.
func installed(program string) bool {
	_, err := exec.LookPath(program)
	return program == "" || err == nil
}

// need reports whether one of the contestants is of that sort.
func (b *bench) need(cases []benchCase, sort func(contestant) bool) bool {
	return slices.ContainsFunc(cases, func(c benchCase) bool {
		return slices.ContainsFunc(c.contestants, func(who contestant) bool { return b.wanted(who) && sort(who) })
	})
}

func (b *bench) leaveOut(what string) {
	b.absent = append(b.absent, what)
	fmt.Fprintln(b.log, "left out:", what)
}

// close ends what open began.
func (b *bench) close() error {
	var errs []error
	if b.postgres != nil {
		errs = append(errs, b.postgres.Close())
	}
	if b.redis != nil {
		errs = append(errs, b.redis.Close())
	}
	if b.dir != "" {
		errs = append(errs, os.RemoveAll(b.dir))
	}
	return errors.Join(errs...)
}

// plays reports whether a contestant can be measured and is to be.
func (b *bench) plays(c contestant) bool {
	return b.wanted(c) && (c.node == "" || b.node != "") && (c.sql != "postgres" || b.postgres != nil)
}

func (b *bench) wanted(c contestant) bool { return len(b.only) == 0 || slices.Contains(b.only, c.name) }

// setUp gives a contestant an empty Redis and an empty database.
func (b *bench) setUp(ctx context.Context, c contestant) (peers.Spec, error) {
	spec := peers.Spec{Redis: b.redis.Addr, Profile: b.profile}
	if err := b.redis.Flush(ctx); err != nil {
		return spec, err
	}
	switch c.sql {
	case "postgres":
		url, err := b.postgres.Database(ctx)
		if err != nil {
			return spec, err
		}
		spec.Database = url
	case "sqlite":
		b.files++
		spec.Database = fmt.Sprintf("sqlite:%s/%d.db", b.dir, b.files)
	}
	return spec, nil
}

// start starts one of a contestant's processes.
func (b *bench) start(ctx context.Context, c contestant, spec peers.Spec) (*stage.Actor, error) {
	return b.startServer(ctx, c, spec, nil)
}

// startServer does, and takes what the process says at first.
func (b *bench) startServer(ctx context.Context, c contestant, spec peers.Spec, ready any) (*stage.Actor, error) {
	cmd, err := b.command(c, spec)
	if err != nil {
		return nil, err
	}
	return stage.StartActor(ctx, c.name, cmd, ready)
}

// command is one of a contestant's processes.
func (b *bench) command(c contestant, spec peers.Spec) (*exec.Cmd, error) {
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encoding a spec: %w", err)
	}
	if c.node == "" {
		return exec.Command(b.program, "contestant", c.kind, string(text)), nil
	}
	cmd := exec.Command(b.node, filepath.Join("peers", c.node), string(text))
	cmd.Env = append(os.Environ(), "NODE_ENV=production")
	return cmd, nil
}

// runAll measures the cases. An error of one turn costs that turn's figures
// alone; all of them are told at the end.
func (b *bench) runAll(ctx context.Context, cases []benchCase, rounds int) (*report, error) {
	r := &report{About: describe(ctx), Absent: b.absent}
	var errs []error
	for _, c := range cases {
		if !installed(c.program) {
			continue
		}
		fmt.Fprintf(b.log, "%s: %s\n", c.name, c.about)
		result := newResult(c, rounds)
		result.Commit = commit(ctx)
		for round := range rounds {
			for i := range c.contestants {
				// Whoever begins one round is the last of the next.
				who := c.contestants[(i+round)%len(c.contestants)]
				if !b.plays(who) || ctx.Err() != nil {
					continue
				}
				figures, err := b.turn(ctx, c, who)
				if err != nil {
					err = fmt.Errorf("%s, %s, round %d: %w", c.name, who.name, round+1, err)
					fmt.Fprintln(b.log, " ", err)
					errs = append(errs, err)
					continue
				}
				result.note(who.name, round, figures)
				fmt.Fprintf(b.log, "  %-30s %s\n", who.name, line(c.rows, figures))
			}
		}
		if ctx.Err() != nil {
			return r, errors.Join(append(errs, context.Cause(ctx))...)
		}
		r.Cases = append(r.Cases, result)
	}
	return r, errors.Join(errs...)
}

// turn measures one contestant once.
func (b *bench) turn(ctx context.Context, c benchCase, who contestant) ([]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, turnLimit)
	defer cancel()
	figures, err := c.run(ctx, b, who)
	if err != nil {
		return nil, err
	}
	for i, f := range figures {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("%s is no number: %v", c.rows[i].Name, f)
		}
	}
	return figures, nil
}
