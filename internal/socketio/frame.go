package socketio

import (
	"encoding/base64"
	"errors"
	"sync"
	"time"
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

// frame is an Engine.IO packet on its way out. It is never changed, so that one
// serves all the connections of a broadcast; the forms that a transport needs
// are made once, when the first connection asks.
type frame struct {
	data   []byte // with the type's character in front, unless binary
	binary bool
	shared bool // goes to many connections

	prepare  sync.Once
	prepared *websocket.PreparedMessage
	err      error

	encode sync.Once
	base64 []byte
}

func textFrame(data []byte) *frame   { return &frame{data: data} }
func binaryFrame(data []byte) *frame { return &frame{data: data, binary: true} }
func controlFrame(kind byte) *frame  { return &frame{data: []byte{kind}} }
func (f *frame) size() int           { return len(f.data) + frameOverhead }

// sizeOf is what frames count for together.
func sizeOf(frames []*frame) (sum int) {
	for _, f := range frames {
		sum += f.size()
	}
	return sum
}

// writeTo sends the frame as one WebSocket message.
func (f *frame) writeTo(ws *websocket.Conn, deadline time.Time) error {
	kind := websocket.TextMessage
	if f.binary {
		kind = websocket.BinaryMessage
	}
	if err := ws.SetWriteDeadline(deadline); err != nil {
		return err
	}
	if !f.shared {
		return ws.WriteMessage(kind, f.data)
	}
	f.prepare.Do(func() { f.prepared, f.err = websocket.NewPreparedMessage(kind, f.data) })
	if f.err != nil {
		return f.err
	}
	return ws.WritePreparedMessage(f.prepared)
}

// polled is the frame as it stands in a polling payload: binary data as base64
// behind a "b" (Engine.IO protocol, "Packet encoding", HTTP long-polling).
func (f *frame) polled() []byte {
	if !f.binary {
		return f.data
	}
	f.encode.Do(func() {
		f.base64 = make([]byte, 1, 1+base64.StdEncoding.EncodedLen(len(f.data)))
		f.base64[0] = 'b'
		f.base64 = base64.StdEncoding.AppendEncode(f.base64, f.data)
	})
	return f.base64
}
