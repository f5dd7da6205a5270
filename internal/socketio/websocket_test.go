package socketio

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// What waits for a client is written together; it arrives as the messages that
// it is, whatever their lengths make of their headers.
func TestWrittenTogether(t *testing.T) {
	t.Parallel()
	// As many bytes a message as have its header change, and as end a write.
	lengths := []int{0, 1, 100, 108, 109, 110, 111, 112, gathered / 2, 1, gathered, 2, 0xffff - 20, 0xffff, 0xffff + 1, 3}
	r := newRig(t, Config{}, func(s *Server) {
		s.Namespace("/").OnConnect(func(_ context.Context, k *Socket, _ json.RawMessage) error {
			for _, n := range lengths { // they all wait until the client is let in
				if err := k.Emit("x", strings.Repeat("é", n/2), Binary(strings.Repeat("b", n))); err != nil {
					return err
				}
			}
			return nil
		})
	})
	w := r.in()
	for _, n := range lengths {
		w.want(`451-["x","`+strings.Repeat("é", n/2)+`",{"_placeholder":true,"num":0}]`, strings.Repeat("b", n))
	}
}

// WebSocket's own ping is answered in its turn among the messages.
func TestWebSocketPing(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, echo)
	w := r.in()
	w.want(`42["auth",{}]`)
	var pongs []string
	w.SetPongHandler(func(data string) error {
		pongs = append(pongs, data)
		return nil
	})
	w.send(`42["message",1]`)
	if err := w.WriteControl(websocket.PingMessage, []byte("there?"), time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	w.send(`42["message",2]`)
	w.want(`42["message-back",1]`, `42["message-back",2]`)
	w.send(`42["message",3]`) // by whose answer the pong has come
	w.want(`42["message-back",3]`)
	if !slices.Equal(pongs, []string{"there?"}) {
		t.Errorf("the ping was answered by %q", pongs)
	}
}
