// Package crowd is thousands of Socket.IO clients in one process: the load of
// the live cases. All of them are read by one goroutine and by epoll, so that a
// client costs a system call a message, whoever the server is.
package crowd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// The rooms that clients are in.
const (
	roomAll     = "all"
	roomStalled = "stalled"
)

// crowd is the clients, and who speaks to them.
type crowd struct {
	epoll   int
	clients []*client
	byFD    map[int]*client
	stalled *client // that is never read; nil without one
	speaker speaker
	buf     []byte
	events  []unix.EpollEvent
	spoken  []time.Time // when each notification to all was sent
	failed  error       // of a client, in the last turn
}

// speaker has the server send a notification to all in a room.
type speaker interface {
	// say returns when the server has been asked; message is what it tells.
	say(ctx context.Context, room, message string) error
	close() error
}

func newCrowd() (*crowd, error) {
	if err := raiseFileLimit(); err != nil {
		return nil, err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making an epoll: %w", err)
	}
	return &crowd{epoll: epoll, byFD: map[int]*client{}, buf: make([]byte, 256<<10), events: make([]unix.EpollEvent, 512)}, nil
}

// raiseFileLimit has the process open as many files as it may.
func raiseFileLimit() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raising the limit of open files: %w", err)
	}
	return nil
}

// mayOpen tells whether so many connections can be.
func mayOpen(n int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	if need := uint64(n) + 100; limit.Cur < need {
		return fmt.Errorf("%d clients need %d open files, and the hard limit (ulimit -Hn) is %d", n, need, limit.Max)
	}
	return nil
}

// add connects so many more clients, with an auth for each by its number.
func (c *crowd) add(addr string, n int, auth func(i int) (string, error)) error {
	if err := mayOpen(len(c.clients) + n); err != nil {
		return err
	}
	for i := range n {
		given, err := auth(i)
		if err != nil {
			return err
		}
		k, err := dial(addr, given)
		if err != nil {
			return fmt.Errorf("client %d: %w", i+1, err)
		}
		c.clients = append(c.clients, k)
		if err := c.watch(k); err != nil {
			return err
		}
		// On a busy machine the first are pinged before the last are there.
		if i%100 == 99 {
			if err := c.turn(nothing, nothing); err != nil {
				return err
			}
		}
	}
	return nil
}

// watch has turn read a client.
func (c *crowd) watch(k *client) error {
	c.byFD[k.fd] = k
	if err := unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, k.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(k.fd)}); err != nil {
		return fmt.Errorf("watching a client: %w", err)
	}
	return nil
}

var (
	ping         = []byte("2")
	pong         = text("3")
	notification = []byte(`42["notification",`)
	ackPrefix    = []byte("43")
)

// turn reads what comes within about a millisecond and tells the notifications
// and acknowledgements.
func (c *crowd) turn(heard func(*client), acked func(*client)) error {
	n, err := unix.EpollWait(c.epoll, c.events, 1)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("waiting for the clients: %w", err)
	}
	for _, e := range c.events[:max(n, 0)] {
		k := c.byFD[int(e.Fd)]
		err := k.read(c.buf, func(message []byte) {
			switch {
			case bytes.HasPrefix(message, notification):
				k.seen++
				heard(k)
			case bytes.HasPrefix(message, ackPrefix):
				acked(k)
			case bytes.Equal(message, ping):
				c.failed = errors.Join(c.failed, k.write(pong))
			}
		})
		if err = errors.Join(err, c.failed); err != nil {
			return err
		}
	}
	return nil
}

func nothing(*client) {}

// listen lets the clients be for so long.
func (c *crowd) listen(ctx context.Context, d time.Duration) error {
	for end := time.Now().Add(d); time.Now().Before(end); {
		if err := errors.Join(ctx.Err(), c.turn(nothing, nothing)); err != nil {
			return err
		}
	}
	return nil
}

// close ends all connections.
func (c *crowd) close() error {
	var errs []error
	if c.speaker != nil {
		errs = append(errs, c.speaker.close())
	}
	for _, k := range append(c.clients, c.stalled) {
		if k != nil {
			errs = append(errs, unix.Close(k.fd))
		}
	}
	return errors.Join(append(errs, unix.Close(c.epoll))...)
}
