package live

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

// counted waits until the processes know of so many connections, users and rooms.
func counted(t *testing.T, p *Publisher, connections, users, rooms int) Connections {
	t.Helper()
	var c Connections
	testkit.WaitFor(t, patience, "the count to be right", func() bool {
		var err error
		c, err = p.Connections(context.Background())
		return err == nil && c.Connections == connections && c.Users == users && c.Rooms == rooms
	})
	return c
}

func TestConnections(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	began := time.Now()
	red := []string{"red", "blue"}
	ann, ann2, bob := a.as(user{ID: "ann", Rooms: red}), b.as(user{ID: "ann", Rooms: red}), b.as(user{ID: "bob"})
	ann.ask("join_room", "red")
	ann2.ask("join_room", "red")
	ann2.ask("join_room", "blue")
	// The processes are told with a round, a user at once.
	n, since, err := a.pub.UserConnections(context.Background(), "ann")
	if err != nil || n != 2 || since.Before(began.Add(-time.Second)) || since.After(time.Now()) {
		t.Errorf("ann has %d connections since %v, %v", n, since, err)
	}
	c := counted(t, b.pub, 3, 2, 2)
	if len(c.Processes) != 2 || c.Processes[0].Name > c.Processes[1].Name {
		t.Fatalf("the processes are %+v", c.Processes)
	}
	for _, p := range c.Processes {
		want := ProcessConnections{Name: a.hub.o.Name, Connections: 1, Users: 1, Rooms: 1}
		if p.Name == b.hub.o.Name {
			want = ProcessConnections{Name: b.hub.o.Name, Connections: 2, Users: 2, Rooms: 2}
		}
		if p != want {
			t.Errorf("a process has %+v, want %+v", p, want)
		}
	}
	ann2.end()
	bob.end()
	counted(t, a.pub, 1, 1, 1)
	testkit.WaitFor(t, patience, "one to be left", func() bool {
		n, _, err := b.pub.UserConnections(context.Background(), "ann")
		return err == nil && n == 1
	})
	if n, since, err := a.pub.UserConnections(context.Background(), "nobody"); n != 0 || !since.IsZero() || err != nil {
		t.Errorf("nobody has %d connections since %v, %v", n, since, err)
	}
}

// A user's connections are counted over all processes; those of a process that
// is no more fall out of the count.
func TestConnectionsLimitOfAll(t *testing.T) {
	t.Parallel()
	rdb := testkit.Redis(t).Client()
	few := options{config: func(c *Config) { c.Connections = 3 }}
	a, b, c := start(t, rdb, few), start(t, rdb, few), start(t, rdb, few)
	ann := user{ID: "ann"}
	a.as(ann)
	b.as(ann)
	b.as(ann)
	for _, p := range []*process{a, b, c} {
		if got := p.connect(token(t, ann), nil).want("connect_error"); !strings.Contains(got, `"code":"rate_limited"`) {
			t.Errorf("got %s", got)
		}
	}
	b.hub.Stop() // and so nobody puts its connections off, as after a kill
	testkit.WaitFor(t, patience, "the dead to be forgotten", func() bool {
		n, _, err := a.pub.UserConnections(context.Background(), "ann")
		return err == nil && n == 1
	})
	c.as(ann)
	c.as(ann)
}

// While Redis is away the connections to this process count alone.
func TestConnectionsLimitWithoutRedis(t *testing.T) {
	t.Parallel()
	server := testkit.Redis(t)
	p := start(t, server.Client(), options{config: func(c *Config) { c.Connections = 2 }})
	server.Stop()
	defer server.Restart()
	for i, want := range []bool{true, true, false} {
		if got := p.hub.enter(context.Background(), "ann", string(rune('1'+i))); got != want {
			t.Errorf("connection %d: %v, want %v", i, got, want)
		}
	}
	p.hub.depart(context.Background(), "ann", "1")
	if !p.hub.enter(context.Background(), "ann", "4") {
		t.Error("a place that is free is not given")
	}
}
