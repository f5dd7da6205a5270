package socketio

import (
	"bytes"
	"errors"
	"strconv"
)

// The types of Socket.IO packets (Socket.IO protocol, "Exchange protocol").
const (
	sioConnect = iota
	sioDisconnect
	sioEvent
	sioAck
	sioConnectError
	sioBinaryEvent
	sioBinaryAck
)

// packet is a Socket.IO packet less its attachments.
type packet struct {
	kind        int
	namespace   string
	attachments int // how many binary messages follow
	id          uint64
	hasID       bool
	payload     []byte // JSON, or nothing
}

var (
	errPacket    = errors.New("not a Socket.IO packet")
	errManyFiles = errors.New("too many attachments")
)

// append writes the packet as an Engine.IO message of text, with that layer's
// type in front.
func (p packet) append(out []byte) []byte {
	out = append(out, typeMessage, '0'+byte(p.kind))
	if p.kind == sioBinaryEvent || p.kind == sioBinaryAck {
		out = strconv.AppendInt(out, int64(p.attachments), 10)
		out = append(out, '-')
	}
	if p.namespace != "/" {
		out = append(append(out, p.namespace...), ',')
	}
	if p.hasID {
		out = strconv.AppendUint(out, p.id, 10)
	}
	return append(out, p.payload...)
}

// parsePacket reads the text of an Engine.IO message:
//
//	<type>[<attachments>-][<namespace>,][<id>][<payload>]
//
// The payload is looked at only when it is used.
func parsePacket(b []byte, maxAttachments int) (packet, error) {
	if len(b) == 0 || b[0] < '0' || b[0] > '0'+sioBinaryAck {
		return packet{}, errPacket
	}
	p := packet{kind: int(b[0] - '0'), namespace: "/"}
	b = b[1:]
	if p.kind == sioBinaryEvent || p.kind == sioBinaryAck {
		n, rest, ok := cutNumber(b)
		if !ok || len(rest) == 0 || rest[0] != '-' {
			return packet{}, errPacket
		}
		if n > uint64(maxAttachments) {
			return packet{}, errManyFiles
		}
		p.attachments, b = int(n), rest[1:]
	}
	if len(b) > 0 && b[0] == '/' {
		name, rest, _ := bytes.Cut(b, []byte{','})
		p.namespace, b = string(name), rest
	}
	if len(b) > 0 && isDigit(b[0]) {
		var ok bool
		if p.id, b, ok = cutNumber(b); !ok {
			return packet{}, errPacket
		}
		p.hasID = true
	}
	p.payload = b
	return p, p.check()
}

// check looks at what can be told without reading the payload.
func (p packet) check() error {
	ok := false
	switch first := firstByte(p.payload); p.kind {
	case sioConnect:
		ok = !p.hasID && (first == 0 || first == '{')
	case sioDisconnect:
		ok = !p.hasID && first == 0
	case sioEvent, sioBinaryEvent:
		ok = first == '['
	case sioAck, sioBinaryAck:
		ok = p.hasID && first == '['
	case sioConnectError: // only servers send it
	}
	if !ok {
		return errPacket
	}
	return nil
}

func firstByte(b []byte) byte {
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

// cutNumber reads the decimal number in front; 18 digits fit for certain.
func cutNumber(b []byte) (n uint64, rest []byte, ok bool) {
	i := 0
	for ; i < len(b) && isDigit(b[i]); i++ {
		n = n*10 + uint64(b[i]-'0')
	}
	return n, b[i:], i > 0 && i <= 18
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
