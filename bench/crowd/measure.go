package crowd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// lateLimit bounds the wait for what was sent at the end of a measurement.
const lateLimit = 30 * time.Second

// message is what a notification tells: about 300 bytes with its frame.
var message = strings.Repeat("The parcel is on its way. ", 4)

// say sends a notification to all.
func (c *crowd) say(ctx context.Context) error {
	c.spoken = append(c.spoken, time.Now())
	return c.speaker.say(ctx, roomAll, message)
}

// begin forgets what was heard before.
func (c *crowd) begin() {
	c.spoken = c.spoken[:0]
	for _, k := range c.clients {
		k.seen = 0
	}
}

// Saturated is what a server has done that always had something to do.
type saturated struct {
	Events int     `json:"events"`
	MS     float64 `json:"ms"`
}

// saturate has so many notifications always under way to all, for so long: the
// next one is sent when the last client has an earlier one.
func (c *crowd) saturate(ctx context.Context, window int, d time.Duration) (saturated, error) {
	c.begin()
	began := time.Now()
	total, whole := 0, 0 // deliveries, and notifications that all have
	having := []int{}    // clients that have the whole-th notification, and those after it
	for range window {
		having = append(having, 0)
		if err := c.say(ctx); err != nil {
			return saturated{}, err
		}
	}
	var failed error
	heard := func(k *client) {
		total++
		at := k.seen - 1 - whole
		if at >= len(having) {
			failed = errors.New("a client got more than was sent")
			return
		}
		having[at]++
	}
	for time.Since(began) < d || total < len(c.spoken)*len(c.clients) {
		if err := errors.Join(ctx.Err(), c.turn(heard, nothing), failed); err != nil {
			return saturated{}, err
		}
		for len(having) > 0 && having[0] == len(c.clients) {
			having = having[1:]
			whole++
			if time.Since(began) < d {
				having = append(having, 0)
				if err := c.say(ctx); err != nil {
					return saturated{}, err
				}
			}
		}
		if time.Since(began) > d+lateLimit {
			return saturated{}, fmt.Errorf("of %d deliveries %d came", len(c.spoken)*len(c.clients), total)
		}
	}
	return saturated{total, ms(time.Since(began))}, nil
}

// flood is what is sent to the stalled client meanwhile.
type flood struct {
	Bytes int `json:"bytes"` // altogether
	Piece int `json:"piece"` // in one notification
}

// pace sends so many notifications a second to all, for so long, and returns the
// times from each one's sending to its arrival at each client, in milliseconds.
func (c *crowd) pace(ctx context.Context, rate float64, d time.Duration, f flood) ([]float64, error) {
	c.begin()
	pieces, piece := 0, ""
	if f.Bytes > 0 {
		pieces, piece = f.Bytes/f.Piece, strings.Repeat("x", f.Piece)
	}
	took := make([]float64, 0, int(rate*d.Seconds()+1)*len(c.clients))
	heard := func(k *client) { took = append(took, ms(time.Since(c.spoken[k.seen-1]))) }
	step := time.Duration(float64(time.Second) / rate)
	began := time.Now()
	flooded := 0
	for next := began; time.Since(began) < d || flooded < pieces || len(took) < len(c.spoken)*len(c.clients); {
		now := time.Now()
		if !now.Before(next) && now.Sub(began) < d {
			if err := c.say(ctx); err != nil {
				return nil, err
			}
			next = next.Add(step)
		}
		// One at a time: the others are read between.
		if due := min(int(float64(pieces)*now.Sub(began).Seconds()/d.Seconds()), pieces); flooded < due {
			if err := c.speaker.say(ctx, roomStalled, piece); err != nil {
				return nil, err
			}
			flooded++
		}
		if err := errors.Join(ctx.Err(), c.turn(heard, nothing)); err != nil {
			return nil, err
		}
		if time.Since(began) > d+lateLimit {
			return nil, fmt.Errorf("of %d deliveries %d came", len(c.spoken)*len(c.clients), len(took))
		}
	}
	return took, nil
}

// echo has so many clients send an event and wait for its acknowledgement, for
// so long. Each sends the next one after the answer, or, with a gap, so long
// after the one before. It returns how long each answer took, in milliseconds.
func (c *crowd) echo(ctx context.Context, callers int, gap, d time.Duration) ([]float64, error) {
	event := text(`421["echo",{"message":"` + message + `"}]`)
	var took []float64
	began := time.Now()
	send := func(k *client) error {
		k.sent = time.Now()
		return k.write(event)
	}
	var failed error
	waiting := 0
	again := func(k *client) {
		took = append(took, ms(time.Since(k.sent)))
		waiting--
		if gap == 0 && time.Since(began) < d {
			failed = send(k)
			waiting++
		}
	}
	// With a gap the callers' beginnings are spread over it.
	nextAt, turn := began, 0
	for time.Since(began) < d || waiting > 0 {
		for now := time.Now(); turn < callers && gap == 0 || gap > 0 && !now.Before(nextAt) && now.Sub(began) < d; turn++ {
			waiting++
			if err := send(c.clients[turn%callers]); err != nil {
				return nil, err
			}
			nextAt = nextAt.Add(gap / time.Duration(callers))
		}
		if err := errors.Join(ctx.Err(), c.turn(nothing, again), failed); err != nil {
			return nil, err
		}
		if time.Since(began) > d+lateLimit {
			return nil, fmt.Errorf("%d acknowledgements did not come", waiting)
		}
	}
	return took, nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// times is what a measurement of many times comes to, in milliseconds.
type times struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
}

func summed(took []float64) times {
	if len(took) == 0 {
		return times{}
	}
	slices.Sort(took)
	at := func(share float64) float64 { return took[min(int(share*float64(len(took))), len(took)-1)] }
	return times{len(took), at(0.50), at(0.99)}
}
