package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// The oldest Redis that will do: asynq needs 6.2 (ZRANGE with BYSCORE).
const oldestMajor, oldestMinor = 6, 2

// Facts are what a Redis server tells of itself. Empty ones it does not tell.
type Facts struct {
	Node    string // host:port of a Cluster's master; empty elsewhere
	Version string
	Old     bool // too old for asynq
	Policy  string
	AOF     bool
	Skew    time.Duration // its clock less ours
}

// Examine asks Redis, on a Cluster every master, about itself.
func Examine(ctx context.Context, rdb redis.UniversalClient) ([]Facts, error) {
	nodes, ok := rdb.(*redis.ClusterClient)
	if !ok {
		f, err := examineNode(ctx, rdb)
		return []Facts{f}, err
	}
	var mu sync.Mutex
	var out []Facts
	err := nodes.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		f, err := examineNode(ctx, node)
		f.Node = node.Options().Addr
		mu.Lock()
		defer mu.Unlock()
		out = append(out, f)
		return err
	})
	return out, err
}

func examineNode(ctx context.Context, rdb redis.Cmdable) (Facts, error) {
	told := map[string]string{}
	for _, section := range []string{"server", "memory", "persistence"} {
		if err := info(ctx, rdb, section, told); err != nil {
			return Facts{}, err
		}
	}
	f := Facts{
		Version: told["redis_version"], Old: older(told["redis_version"]),
		Policy: told["maxmemory_policy"], AOF: told["aof_enabled"] == "1",
	}
	asked := time.Now()
	now, err := rdb.Time(ctx).Result()
	if err != nil {
		return Facts{}, fmt.Errorf("asking Redis for its time: %w", err)
	}
	f.Skew = now.Sub(asked.Add(time.Since(asked) / 2))
	return f, nil
}

// Check says whether Redis will do: an error when it does not answer or is
// older than 6.2; a warning for what an operator should mend.
func Check(ctx context.Context, rdb redis.UniversalClient) (warnings []string, err error) {
	found, err := Examine(ctx, rdb)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		node := ""
		if f.Node != "" {
			node = f.Node + ": "
		}
		switch {
		case f.Version == "":
			warnings = append(warnings, fmt.Sprintf("%sRedis does not tell its version; it must be %d.%d or newer", node, oldestMajor, oldestMinor))
		case f.Old:
			return nil, fmt.Errorf("checking Redis: %sit is version %s, and must be %d.%d or newer", node, f.Version, oldestMajor, oldestMinor)
		}
		if f.Policy != "" && f.Policy != "noeviction" {
			warnings = append(warnings, fmt.Sprintf("%sRedis has maxmemory-policy %s and may throw tasks away; set it to noeviction", node, f.Policy))
		}
	}
	return warnings, nil
}

// info adds the fields of a section of INFO; none when Redis refuses to tell.
func info(ctx context.Context, rdb redis.Cmdable, section string, fields map[string]string) error {
	text, err := rdb.Info(ctx, section).Result()
	var refused redis.Error
	if err != nil && !errors.As(err, &refused) {
		return fmt.Errorf("asking Redis for its INFO %s: %w", section, err)
	}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return nil
}

// older reports whether a version, "7.0.15", is below the oldest that will do.
// One that cannot be read is not.
func older(version string) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	major, err := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err != nil || err2 != nil {
		return false
	}
	return major < oldestMajor || major == oldestMajor && minor < oldestMinor
}
