package socketio

import (
	"errors"
	"slices"
	"sync"

	"golang.org/x/time/rate"
)

// conn is the Socket.IO side of a session: its sockets, one a namespace.
type conn struct {
	session *session

	mu      sync.Mutex // guards the sockets, too
	over    bool       // the session has ended, or is about to
	greeted bool       // a CONNECT has come in
	sockets []*Socket
	alive   int           // sockets, and those that have left and that handlers are still at work for
	done    chan struct{} // tells the reader, who waits, that one of those is over
	partial *partial      // an event whose attachments are still to come; of the reader
	again   *rate.Limiter // of CONNECTs after the first; of the reader, nil before
}

// partial is a packet that waits for its attachments.
type partial struct {
	packet      packet
	attachments [][]byte
	size        int
}

var (
	errNoAttachment  = errors.New("binary data that no event announced")
	errTextMeanwhile = errors.New("text in place of an attachment")
	errTooLarge      = errors.New("an event that is too large with its attachments")
	errNoConnect     = errors.New("a packet before any CONNECT")
	errManyConnects  = errors.New("too many CONNECTs")
)

// receive takes an Engine.IO message in. An error means that the client does not
// keep to the protocol, so that nothing it sends can be relied on.
func (c *conn) receive(m engPacket) error {
	if c.partial != nil {
		return c.attach(m)
	}
	if m.binary {
		return errNoAttachment
	}
	p, err := parsePacket(m.data, c.session.server.cfg.MaxAttachments)
	if err != nil {
		return err
	}
	if p.attachments > 0 {
		c.partial = &partial{packet: p, size: len(m.data)}
		return nil
	}
	return c.dispatch(p, nil)
}

// attach adds an attachment to the event that waits for it.
func (c *conn) attach(m engPacket) error {
	if !m.binary {
		return errTextMeanwhile
	}
	w := c.partial
	w.attachments = append(w.attachments, m.data)
	if w.size += len(m.data); w.size > c.session.server.cfg.MaxPayload {
		return errTooLarge
	}
	if len(w.attachments) < w.packet.attachments {
		return nil
	}
	c.partial = nil
	return c.dispatch(w.packet, w.attachments)
}

// dispatch carries out a whole packet.
func (c *conn) dispatch(p packet, attachments [][]byte) error {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return nil
	}
	socket := c.findLocked(p.namespace)
	greeted := c.greeted
	c.mu.Unlock()
	switch {
	case p.kind == sioConnect && socket != nil:
		return nil // the npm client says it twice when its user calls connect once too often
	case p.kind == sioConnect && greeted && !c.mayConnectAgain():
		return errManyConnects
	case p.kind == sioConnect:
		return c.connect(p)
	case !greeted:
		return errNoConnect
	}
	// For a namespace that was left on this side a client may still have sent
	// something; it is read to tell whether it keeps to the protocol.
	switch p.kind {
	case sioDisconnect:
		if socket != nil {
			socket.leave(ClientLeft)
		}
	case sioEvent, sioBinaryEvent:
		name, args, err := parseEvent(p.payload, attachments)
		if err != nil {
			return err
		}
		if socket != nil {
			socket.receive(Event{Name: name, Args: args, answer: socket.answerTo(p)}, len(p.payload)+sizeOfAll(attachments))
		}
	case sioAck, sioBinaryAck:
		args, err := parseArgs(p.payload, attachments)
		if err != nil {
			return err
		}
		if socket != nil {
			socket.acknowledged(p.id, args)
		}
	}
	return nil
}

func sizeOfAll(attachments [][]byte) (sum int) {
	for _, a := range attachments {
		sum += len(a)
	}
	return sum
}

func (c *conn) findLocked(namespace string) *Socket {
	for _, k := range c.sockets {
		if k.namespace.name == namespace {
			return k
		}
	}
	return nil
}

// maxLeaving bounds the sockets of a session that its client has left and that
// handlers are still at work for.
const maxLeaving = 4

// settle waits until a client that connects and leaves again and again has let
// handlers finish: each of its sockets has a goroutine of its own.
func (c *conn) settle() {
	for {
		c.mu.Lock()
		if c.alive-len(c.sockets) < maxLeaving {
			c.mu.Unlock()
			return
		}
		if c.done == nil {
			c.done = make(chan struct{}, 1)
		}
		done := c.done
		c.mu.Unlock()
		select {
		case <-done:
		case <-c.session.ctx.Done():
			return
		}
	}
}

// A client may connect to so many namespaces at once, or try as often to be let
// into one, and then so many a second: each CONNECT has the namespace decide,
// which may mean to check a token or a key.
const (
	connectBurst = 50
	connectRate  = rate.Limit(5)
)

// mayConnectAgain counts a CONNECT after the first. Most clients send one, and
// need no limiter.
func (c *conn) mayConnectAgain() bool {
	if c.again == nil {
		c.again = rate.NewLimiter(connectRate, connectBurst)
	}
	return c.again.Allow()
}

// connect begins a socket, whose namespace then decides about it.
func (c *conn) connect(p packet) error {
	n := c.session.server.find(p.namespace)
	if n == nil {
		c.mu.Lock()
		c.greeted = true
		c.mu.Unlock()
		c.session.send(connectErrorFrame(p.namespace, &ConnectError{Message: "Invalid namespace"}))
		return nil
	}
	auth, err := parseAuth(p.payload)
	if err != nil {
		return err
	}
	c.settle()
	socket := newSocket(c, n)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return nil
	}
	c.greeted = true
	c.sockets = append(c.sockets, socket)
	c.alive++
	c.session.entered()
	n.add(socket)
	socket.pushLocked(task{run: func() { socket.connect(auth) }})
	return nil
}

// dropLocked takes a socket out.
func (c *conn) dropLocked(k *Socket) {
	c.sockets = slices.DeleteFunc(c.sockets, func(other *Socket) bool { return other == k })
	if len(c.sockets) == 0 && !c.over {
		c.session.await()
	}
}

// ended tells all sockets that they are disconnected.
func (c *conn) ended(reason Reason) {
	c.mu.Lock()
	c.over = true
	left := slices.Clone(c.sockets)
	c.mu.Unlock()
	for _, k := range left {
		k.leave(reason)
	}
}
