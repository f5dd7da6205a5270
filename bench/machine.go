package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/postrider/postrider/bench/stage"
)

// describe names the machine and all versions but Postrider's, a line an entry;
// it is the same whatever cases are run.
func describe(ctx context.Context) []string {
	lines := []string{
		fmt.Sprintf("machine: %s, %d cores seen, %s, %s", field("/proc/cpuinfo", "model name"), runtime.NumCPU(),
			memoryTotal(), strings.TrimSpace(output(ctx, "uname", "-sr"))),
		fmt.Sprintf("%s, asynq %s, River %s", runtime.Version(), module("github.com/hibiken/asynq"), module("github.com/riverqueue/river")),
		"redis-server " + stage.RedisVersion(ctx) + ", which writes nothing to disk",
	}
	if v := stage.PostgresVersion(ctx); v != "" {
		lines = append(lines, "PostgreSQL "+v+", each commit on disk before it is told; SQLite likewise")
	}
	if _, err := exec.LookPath("node"); err == nil {
		locked := lockedVersions("bullmq", "ioredis", "bee-queue", "express", "nodemailer")
		lines = append(lines, fmt.Sprintf("Node %s, %s", strings.TrimSpace(output(ctx, "node", "--version")), strings.Join(locked, ", ")),
			strings.Join(lockedVersions("socket.io", "@socket.io/redis-adapter", "bufferutil"), ", "))
	}
	return lines
}

// commit is Postrider's; its results, which the bench itself writes, aside.
func commit(ctx context.Context) string {
	id := strings.TrimSpace(output(ctx, "git", "rev-parse", "--short", "HEAD"))
	if output(ctx, "git", "status", "--porcelain", "--untracked-files=no", "--", "..", ":!results") != "" {
		id += " with changes"
	}
	return id
}

func output(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return "unknown"
	}
	return string(out)
}

// module is the version of one that is built in.
func module(path string) string {
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, dep := range info.Deps {
			if dep.Path == path {
				return dep.Version
			}
		}
	}
	return "unknown"
}

func firstLine(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// field is a value of one of the files in /proc that hold "name : value".
func field(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func memoryTotal() string {
	var kib int64
	if _, err := fmt.Sscanf(field("/proc/meminfo", "MemTotal"), "%d kB", &kib); err != nil {
		return "memory unknown"
	}
	return fmt.Sprintf("%.0f GiB", float64(kib)/(1<<20))
}
