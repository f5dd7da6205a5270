package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
)

// live is what connections take, by the bench's own case.
type live struct {
	idle, busy float64 // bytes of an idle connection, after and before a collection
	delivery   float64 // seconds of processor time, each told alone
	commit     string  // that was measured
}

// The case, whose it is, and the rows that are read.
const (
	liveCase = "live-room"
	liveWho  = "Postrider Hub"
	rowIdle  = "live, memory of an idle connection"
	rowBusy  = "live, the same before a collection"
	rowTold  = "live, the same at the fixed rate"
)

// readLive reads what the bench measured last.
func readLive(file string) (l live, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return l, fmt.Errorf("reading what the live case measured: %w", err)
	}
	var results struct {
		Cases []struct {
			Name, Commit string
			Rows         []struct{ Name string }
			Figures      map[string][][]float64
		}
	}
	if err := json.Unmarshal(text, &results); err != nil {
		return l, fmt.Errorf("reading what the live case measured: %w", err)
	}
	for _, c := range results.Cases {
		if c.Name != liveCase {
			continue
		}
		medians := map[string]float64{}
		for i, row := range c.Rows {
			var rounds []float64
			for _, figures := range c.Figures[liveWho] {
				if i < len(figures) {
					rounds = append(rounds, figures[i])
				}
			}
			if len(rounds) > 0 {
				slices.Sort(rounds)
				medians[row.Name] = rounds[len(rounds)/2]
			}
		}
		l = live{idle: 1024 * medians[rowIdle], busy: 1024 * medians[rowBusy], delivery: medians[rowTold] / 1e6, commit: c.Commit}
	}
	if l.idle == 0 || l.busy == 0 || l.delivery == 0 {
		return l, errors.New("reading what the live case measured: it has no figures: go run . " + liveCase)
	}
	return l, nil
}
