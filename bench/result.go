package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// result is what a case's rounds gave.
type result struct {
	Name   string `json:"name"`
	About  string `json:"about"`
	When   string `json:"when"`
	Commit string `json:"commit"` // of Postrider
	Load   string `json:"load"`   // load average at the case's beginning
	Rows   []row  `json:"rows"`
	// Figures are a contestant's, by round and row; a turn that failed has none.
	Figures map[string][][]float64 `json:"figures"`
	rounds  int
}

func newResult(c benchCase, rounds int) *result {
	return &result{
		Name: c.name, About: c.about, Rows: c.rows, rounds: rounds, Figures: map[string][][]float64{},
		When: time.Now().UTC().Format("2006-01-02 15:04 MST"), Load: firstLine("/proc/loadavg"),
	}
}

func (r *result) note(who string, round int, figures []float64) {
	if r.Figures[who] == nil {
		r.Figures[who] = make([][]float64, r.rounds)
	}
	r.Figures[who][round] = figures
}

// column is one row's figures of a contestant, without the rounds that failed.
func (r *result) column(who string, row int) []float64 {
	var out []float64
	for _, figures := range r.Figures[who] {
		if figures != nil {
			out = append(out, figures[row])
		}
	}
	return out
}

// ratios are those of two contestants in each round in which both have figures.
// Without a peer they are the figures themselves.
func (r *result) ratios(g goal, row int) []float64 {
	if g.Peer == "" {
		return r.column(g.Who, row)
	}
	var out []float64
	theirs := r.Figures[g.Peer]
	for round, figures := range r.Figures[g.Who] {
		if figures != nil && round < len(theirs) && theirs[round] != nil && theirs[round][row] != 0 {
			out = append(out, figures[row]/theirs[round][row])
		}
	}
	return out
}

// met reports whether the ratio is what is aimed at.
func (g goal) met(r row, ratio float64) bool {
	if r.Less {
		return ratio <= g.Factor
	}
	return ratio >= g.Factor
}

func median(figures []float64) float64 { return percentile(figures, 50) }

// percentile is the nearest rank's, but for the 50th of an even number, which is
// the mean of the two in the middle.
func percentile(figures []float64, p float64) float64 {
	if len(figures) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(figures))
	if n := len(s); p == 50 && n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[max(int(math.Ceil(p/100*float64(len(s))))-1, 0)]
}

// number is a figure for people, with three digits at least and no false ones.
func number(f float64) string {
	switch a := math.Abs(f); {
	case math.IsNaN(f):
		return "–"
	case a >= 1000:
		return thousands(strconv.FormatFloat(f, 'f', 0, 64))
	case a >= 100:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 2, 64)
}

// thousands puts commas into the digits of a whole number.
func thousands(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// line is a turn's figures for the log.
func line(rows []row, figures []float64) string {
	parts := make([]string, len(figures))
	for i, f := range figures {
		parts[i] = number(f) + " " + rows[i].Unit
	}
	return strings.Join(parts, ", ")
}

func (g goal) String() string {
	if g.Peer == "" {
		return fmt.Sprintf("%s alone", g.Who)
	}
	return fmt.Sprintf("%s / %s", g.Who, g.Peer)
}
