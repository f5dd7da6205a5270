package stage

import (
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Distance is a TCP proxy that makes a server on this machine answer as if it
// stood further away: each answer comes later by the round trip. Any number of
// requests may be under way meanwhile, so that it bounds no throughput.
type Distance struct {
	Addr      string // host:port
	target    string
	roundTrip time.Duration
	listener  net.Listener
	conns     sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
}

// NewDistance puts the round trip before the target, host:port.
func NewDistance(target string, roundTrip time.Duration) (*Distance, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the distant clients: %w", err)
	}
	d := &Distance{Addr: l.Addr().String(), target: target, roundTrip: roundTrip, listener: l, open: map[net.Conn]struct{}{}}
	d.conns.Go(d.accept)
	return d, nil
}

// Close cuts all connections.
func (d *Distance) Close() error {
	err := d.listener.Close()
	d.mu.Lock()
	d.closed = true
	for c := range d.open {
		_ = c.Close()
	}
	d.mu.Unlock()
	d.conns.Wait()
	return err
}

func (d *Distance) accept() {
	for {
		client, err := d.listener.Accept()
		if err != nil {
			return
		}
		d.conns.Go(func() { d.carry(client) })
	}
}

// keep lists a connection for Close; false means that it came too late.
func (d *Distance) keep(c net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.open[c] = struct{}{}
	return true
}

func (d *Distance) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", d.target)
	if err != nil {
		return
	}
	defer server.Close()
	if !d.keep(client) || !d.keep(server) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { pass(server, client, 0) })
	both.Go(func() { pass(client, server, d.roundTrip) })
	both.Wait()
	d.mu.Lock()
	delete(d.open, client)
	delete(d.open, server)
	d.mu.Unlock()
}

// pass moves bytes from src to dst, each by so much later, until either ends;
// then it closes both.
func pass(dst, src net.Conn, later time.Duration) {
	type parcel struct {
		bytes []byte
		due   time.Time
	}
	way := make(chan parcel, 1024)
	var sender sync.WaitGroup
	sender.Go(func() {
		defer dst.Close()
		for p := range way {
			pause(time.Until(p.due))
			if _, err := dst.Write(p.bytes); err != nil {
				_ = src.Close() // the reader ends, and with it the channel
			}
		}
	})
	for {
		buf := make([]byte, 16<<10)
		n, err := src.Read(buf)
		if n > 0 {
			way <- parcel{buf[:n], time.Now().Add(later)}
		}
		if err != nil {
			break
		}
	}
	close(way)
	sender.Wait()
	_ = src.Close()
}

// pause sleeps in the kernel: Go's own timers round up to whole milliseconds
// when nothing else runs.
func pause(d time.Duration) {
	if d <= 0 {
		return
	}
	t := unix.NsecToTimespec(d.Nanoseconds())
	for unix.Nanosleep(&t, &t) == unix.EINTR { // t is what is left
	}
}
