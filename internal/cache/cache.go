// Package cache keeps answers for a while, near in memory and shared in Redis.
package cache
