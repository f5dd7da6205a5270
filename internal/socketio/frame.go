package socketio

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"sync"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// The types of Engine.IO packets: the first character of each
// (Engine.IO protocol, "Protocol").
const (
	typeOpen    = '0'
	typeClose   = '1'
	typePing    = '2'
	typePong    = '3'
	typeMessage = '4'
	typeUpgrade = '5'
	typeNoop    = '6'
)

// engPacket is an Engine.IO packet that came in.
type engPacket struct {
	kind   byte
	binary bool // of a message: data are bytes, not text
	data   []byte
}

var (
	errEmptyPacket = errors.New("an empty packet")
	errPacketType  = errors.New("a packet of no known type")
	errNotUTF8     = errors.New("text that is not UTF-8")
)

// parseText reads a packet as it stands in a WebSocket text message. Text that
// is not UTF-8 is refused here: passed on to others, it would have their
// browsers close their connections (RFC 6455, section 8.1).
func parseText(b []byte) (engPacket, error) {
	switch {
	case len(b) == 0:
		return engPacket{}, errEmptyPacket
	case b[0] < typeOpen || b[0] > typeNoop:
		return engPacket{}, errPacketType
	case !utf8.Valid(b):
		return engPacket{}, errNotUTF8
	}
	return engPacket{kind: b[0], data: b[1:]}, nil
}

// frameOverhead is what a queued frame counts for beside its bytes, so that a
// flood of tiny ones is bounded, too.
const frameOverhead = 64

// frame is an Engine.IO packet on its way out, as the WebSocket message that it
// is on the wire. It is never changed, so that one serves all the connections of
// a broadcast; the form that polling needs beside is made once, when the first
// connection asks.
type frame struct {
	wire   []byte
	head   int  // so much of wire is the message's header
	binary bool // data has no type's character in front

	encode sync.Once
	base64 []byte
}

func textFrame(data []byte) *frame   { return newFrame(websocket.TextMessage, data) }
func binaryFrame(data []byte) *frame { return newFrame(websocket.BinaryMessage, data) }
func controlFrame(kind byte) *frame  { return textFrame([]byte{kind}) }

// newFrame copies data behind the header of an unmasked message of one frame
// (RFC 6455, section 5.2).
func newFrame(opcode int, data []byte) *frame {
	const maxHead = 10
	wire := append(make([]byte, 0, maxHead+len(data)), 0x80|byte(opcode))
	switch n := len(data); {
	case n < 126:
		wire = append(wire, byte(n))
	case n <= math.MaxUint16:
		wire = binary.BigEndian.AppendUint16(append(wire, 126), uint16(n))
	default:
		wire = binary.BigEndian.AppendUint64(append(wire, 127), uint64(n))
	}
	return &frame{wire: append(wire, data...), head: len(wire), binary: opcode == websocket.BinaryMessage}
}

// data is the packet, with the type's character in front unless it is binary.
func (f *frame) data() []byte { return f.wire[f.head:] }

// size is what the frame counts for while it waits.
func (f *frame) size() int { return len(f.wire) + frameOverhead }

// sizeOf is what frames count for together.
func sizeOf(frames []*frame) (sum int) {
	for _, f := range frames {
		sum += f.size()
	}
	return sum
}

// polled is the frame as it stands in a polling payload: binary data as base64
// behind a "b" (Engine.IO protocol, "Packet encoding", HTTP long-polling).
func (f *frame) polled() []byte {
	data := f.data()
	if !f.binary {
		return data
	}
	f.encode.Do(func() {
		f.base64 = make([]byte, 1, 1+base64.StdEncoding.EncodedLen(len(data)))
		f.base64[0] = 'b'
		f.base64 = base64.StdEncoding.AppendEncode(f.base64, data)
	})
	return f.base64
}
