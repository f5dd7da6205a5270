package crowd

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sys/unix"
)

// client is one WebSocket of a Socket.IO client in the main namespace, by its
// file descriptor. Reading it is a system call and little else, so that the
// crowd never is what bounds a measurement.
type client struct {
	fd   int
	rest []byte // of a frame that has come in part
	seen int    // notifications
	sent time.Time
}

// handshakeLimit bounds how long a client may take to be let in.
const handshakeLimit = 20 * time.Second

// dial connects a client to the namespace with auth, JSON or nothing, and
// returns when it is let in (Engine.IO protocol, "Handshake"; Socket.IO
// protocol, "Connection to a namespace").
func dial(addr, auth string) (*client, error) {
	tcp, err := net.DialTimeout("tcp", addr, handshakeLimit)
	if err != nil {
		return nil, fmt.Errorf("connecting a client: %w", err)
	}
	defer tcp.Close() // of which a copy stays
	if err := tcp.SetDeadline(time.Now().Add(handshakeLimit)); err != nil {
		return nil, fmt.Errorf("connecting a client: %w", err)
	}
	rest, err := enter(tcp, addr, auth)
	if err != nil {
		return nil, fmt.Errorf("letting a client in: %w", err)
	}
	// A copy that Go's runtime does not watch.
	file, err := tcp.(*net.TCPConn).File()
	if err != nil {
		return nil, fmt.Errorf("taking a client's connection: %w", err)
	}
	defer file.Close()
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, fmt.Errorf("taking a client's connection: %w", err)
	}
	return &client{fd: fd, rest: rest}, nil
}

// enter returns what has come behind the answer to CONNECT.
func enter(tcp net.Conn, addr, auth string) (rest []byte, err error) {
	if _, err := fmt.Fprintf(tcp, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"+
		"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", addr); err != nil {
		return nil, err
	}
	in := bufio.NewReader(tcp)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("the server answered %s", answer.Status)
	}
	if _, err := tcp.Write(text("40" + auth)); err != nil {
		return nil, err
	}
	var got []byte
	for {
		b, err := in.ReadByte()
		if err != nil {
			return nil, err
		}
		got = append(got, b)
		payload, _, whole := cut(got)
		if !whole {
			continue
		}
		got = nil
		switch {
		case bytes.HasPrefix(payload, []byte("40")):
			return in.Peek(in.Buffered())
		case bytes.HasPrefix(payload, []byte("44")):
			return nil, fmt.Errorf("it was refused: %s", payload)
		}
	}
}

// text is a text frame of a client, masked with zeros (RFC 6455, section 5).
func text(s string) []byte {
	out := []byte{0x81}
	switch n := len(s); {
	case n < 126:
		out = append(out, 0x80|byte(n))
	case n <= 0xffff:
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), uint64(n))
	}
	return append(append(out, 0, 0, 0, 0), s...)
}

// cut takes a server's frame off b; false when it has not come in whole.
func cut(b []byte) (payload, rest []byte, whole bool) {
	if len(b) < 2 {
		return nil, b, false
	}
	head, size := 2, uint64(b[1])
	switch size {
	case 126:
		if head = 4; len(b) < head {
			return nil, b, false
		}
		size = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if head = 10; len(b) < head {
			return nil, b, false
		}
		size = binary.BigEndian.Uint64(b[2:])
	}
	if uint64(len(b)-head) < size {
		return nil, b, false
	}
	end := head + int(size)
	return b[head:end], b[end:], true
}

var errGone = errors.New("the server has closed a client's connection")

// read takes in what has come, and tells each whole message's text.
func (k *client) read(buf []byte, tell func([]byte)) error {
	n, err := unix.Read(k.fd, buf)
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("reading: %w", err)
	case n == 0:
		return errGone
	}
	got := buf[:n]
	if len(k.rest) > 0 {
		k.rest = append(k.rest, got...)
		got = k.rest
	}
	for {
		payload, rest, whole := cut(got)
		if !whole {
			break
		}
		tell(payload)
		got = rest
	}
	k.rest = append(k.rest[:0:0], got...)
	return nil
}

// write sends a frame, for which there has to be room.
func (k *client) write(frame []byte) error {
	for len(frame) > 0 {
		n, err := unix.Write(k.fd, frame)
		if errors.Is(err, unix.EAGAIN) { // of a large one
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(k.fd), Events: unix.POLLOUT}}, int(handshakeLimit.Milliseconds()))
			n = 0
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("writing: %w", err)
		}
		frame = frame[max(n, 0):]
	}
	return nil
}
