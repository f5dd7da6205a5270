package crowd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// command is what the bench asks for: op, with what else that op needs.
type command struct {
	Op      string  `json:"op"`
	Addr    string  `json:"addr"`    // host:port of the server with the clients
	Speaker string  `json:"speaker"` // that of the server that the speaker is at; the same when empty
	Redis   string  `json:"redis"`   // host:port; then the speaker publishes there, and auth is a token
	Clients int     `json:"clients"`
	Stalled bool    `json:"stalled"` // one more, that reads nothing
	MS      float64 `json:"ms"`
	Window  int     `json:"window"` // notifications under way
	Rate    float64 `json:"rate"`   // a second
	Callers int     `json:"callers"`
	GapMS   float64 `json:"gap"`
	Flood   flood   `json:"flood"`
}

// Serve is the crowd's process: it obeys the commands that come by in, one JSON
// object a line, and answers each with one line.
func Serve(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	c, err := newCrowd()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	answers := json.NewEncoder(out)
	if err := answers.Encode(struct{}{}); err != nil { // ready
		return fmt.Errorf("telling that the crowd is ready: %w", err)
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var asked command
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			return fmt.Errorf("reading a command: %w", err)
		}
		answer, err := c.obey(ctx, asked)
		if err != nil {
			answer = map[string]string{"error": err.Error()}
		}
		if err := answers.Encode(answer); err != nil {
			return fmt.Errorf("answering the bench: %w", err)
		}
	}
	return nil
}

func (c *crowd) obey(ctx context.Context, o command) (any, error) {
	d := time.Duration(o.MS * float64(time.Millisecond))
	switch o.Op {
	case "connect":
		return struct{}{}, c.connect(ctx, o)
	case "listen":
		return struct{}{}, c.listen(ctx, d)
	case "saturate":
		return c.saturate(ctx, o.Window, d)
	case "pace":
		took, err := c.pace(ctx, o.Rate, d, o.Flood)
		return summed(took), err
	case "echo":
		took, err := c.echo(ctx, o.Callers, time.Duration(o.GapMS*float64(time.Millisecond)), d)
		return summed(took), err
	}
	return nil, fmt.Errorf("there is no command %q", o.Op)
}

// connect gathers the crowd.
func (c *crowd) connect(ctx context.Context, o command) error {
	auth := plainAuth
	if o.Redis != "" {
		auth = tokenAuth
	}
	if o.Speaker == "" {
		o.Speaker = o.Addr
	}
	if o.Redis != "" {
		c.speaker = newPublisher(o.Redis)
	} else {
		shouter, err := newShouter(o.Speaker)
		if err != nil {
			return err
		}
		c.speaker = shouter
		if err := c.watch(shouter.client); err != nil { // for its pings
			return err
		}
	}
	if o.Stalled {
		given, err := auth("stalled", roomStalled)
		if err != nil {
			return err
		}
		if c.stalled, err = dial(o.Addr, given); err != nil {
			return err
		}
	}
	if err := c.add(o.Addr, o.Clients, func(i int) (string, error) { return auth(fmt.Sprint("user-", i), roomAll) }); err != nil {
		return err
	}
	return c.await(ctx)
}

// await returns when the clients hear the speaker.
func (c *crowd) await(ctx context.Context) error {
	for began := time.Now(); time.Since(began) < lateLimit; {
		c.begin()
		if err := c.say(ctx); err != nil {
			return err
		}
		having := 0
		for tried := time.Now(); time.Since(tried) < time.Second && having < len(c.clients); {
			if err := c.turn(func(*client) { having++ }, nothing); err != nil {
				return err
			}
		}
		if having == len(c.clients) {
			return nil
		}
	}
	return errors.New("the clients do not all hear the speaker")
}
