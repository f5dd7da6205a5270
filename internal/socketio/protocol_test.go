package socketio

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// The tests of this file are the Socket.IO protocol's, revision 5.

func TestConnect(t *testing.T) {
	t.Parallel()
	for send, want := range map[string]struct{ welcome, auth string }{
		`40`:                        {`40{"sid":"`, `42["auth",{}]`},
		`40{"token":"123"}`:         {`40{"sid":"`, `42["auth",{"token":"123"}]`},
		`40/custom,`:                {`40/custom,{"sid":"`, `42/custom,["auth",{}]`},
		`40/custom`:                 {`40/custom,{"sid":"`, `42/custom,["auth",{}]`},
		`40/custom,{"token":"abc"}`: {`40/custom,{"sid":"`, `42/custom,["auth",{"token":"abc"}]`},
	} {
		r := newRig(t, Config{}, echo)
		w := r.ws()
		w.send(send)
		welcome := w.read()
		var got map[string]string
		_, payload, _ := strings.Cut(welcome, "{")
		if err := json.Unmarshal([]byte("{"+payload), &got); err != nil || len(got) != 1 || got["sid"] == "" || !strings.HasPrefix(welcome, want.welcome) {
			t.Errorf("%s was answered %q", send, welcome)
		}
		w.want(want.auth)
	}
}

// The npm client sends a second CONNECT when its user calls connect on a socket
// that connects by itself.
func TestConnectTwice(t *testing.T) {
	t.Parallel()
	w := newRig(t, Config{}, echo).in()
	w.want(`42["auth",{}]`)
	w.send("40")
	w.send(`42["message",1]`)
	w.want(`42["message-back",1]`)
}

// A client that is refused again and again is cut off: each time somebody has to
// decide about it.
func TestConnectAgainAndAgain(t *testing.T) {
	t.Parallel()
	for _, send := range []string{"40/random,", `40{"token":"x"}`} {
		w := newRig(t, Config{}, func(s *Server) {
			s.Namespace("/").OnConnect(func(context.Context, *Socket, json.RawMessage) error { return &ConnectError{Message: "no"} })
		}).ws()
		tries, err := 0, error(nil)
		for ; err == nil && tries < 1000; tries++ {
			if err = w.WriteMessage(websocket.TextMessage, []byte(send)); err == nil {
				_ = w.SetReadDeadline(time.Now().Add(10 * patience))
				_, _, err = w.ReadMessage()
			}
		}
		if timeout := net.Error(nil); err == nil || errors.As(err, &timeout) && timeout.Timeout() || tries <= connectBurst {
			t.Errorf("%s: after %d tries: %v", send, tries, err)
		}
	}
}

func TestUnknownNamespace(t *testing.T) {
	t.Parallel()
	w := newRig(t, Config{}, echo).ws()
	w.send("40/random")
	w.want(`44/random,{"message":"Invalid namespace"}`)
	w.send("40/custom,") // the connection stays
	if welcome := w.read(); !strings.HasPrefix(welcome, `40/custom,{"sid":"`) {
		t.Errorf("got %q", welcome)
	}
}

func TestConnectRefused(t *testing.T) {
	t.Parallel()
	gone := make(chan Reason, 1)
	w := newRig(t, Config{}, func(s *Server) {
		n := s.Namespace("/")
		n.OnConnect(func(_ context.Context, k *Socket, auth json.RawMessage) error {
			_ = k.Emit("early") // must not be seen
			switch string(auth) {
			case `{"token":"right"}`:
				return nil
			case "":
				return errors.New("a secret of the server")
			}
			return &ConnectError{Message: "not authorized", Data: map[string]any{"code": 7}}
		})
		n.OnDisconnect(func(_ context.Context, _ *Socket, reason Reason) { gone <- reason })
	}).ws()
	w.send(`40{"token":"wrong"}`)
	w.want(`44{"message":"not authorized","data":{"code":7}}`)
	w.send(`40`)
	w.want(`44{"message":"internal error"}`)
	w.send(`42["too early"]`)     // in no namespace: ignored
	w.send(`40{"token":"right"}`) // a client may try again
	if welcome := w.read(); !strings.HasPrefix(welcome, `40{"sid":"`) {
		t.Errorf("got %q", welcome)
	}
	w.want(`42["early"]`)
	w.send("41")
	if reason := next(t, gone); reason != ClientLeft {
		t.Errorf("it left by %q", reason)
	}
}

func TestInvalidPackets(t *testing.T) {
	t.Parallel()
	for name, send := range map[string][]string{
		"before CONNECT":             nil,
		"unknown type":               {"4abc"},
		"no type":                    {"4"},
		"payload is no array":        {"42{}"},
		"payload is empty":           {"42[]"},
		"payload is no JSON":         {"42[oops]"},
		"no payload":                 {"42"},
		"name is no string":          {"42[1]"},
		"name is reserved":           {`42["disconnect"]`},
		"ack id is none":             {`42abc["message"]`},
		"ack id is too long":         {`421234567890123456789["message"]`},
		"ack without id":             {`43[]`},
		"CONNECT with an array":      {"40/custom,[]"},
		"CONNECT with broken JSON":   {"40/custom,{"},
		"CONNECT_ERROR":              {"44{}"},
		"attachments without number": {`45-["message"]`},
		"attachments without dash":   {`451["message"]`},
		"too many attachments":       {`4511-["message"]`},
		"text for an attachment":     {`451-["message",{"_placeholder":true,"num":0}]`, `42["message"]`},
		"binary of nothing":          {"\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Config{}, echo)
			if send == nil {
				w := r.ws()
				w.send("4abc")
				w.wantEnd()
				return
			}
			w := r.in()
			w.want(`42["auth",{}]`)
			for _, s := range send {
				if s == "\x00" {
					w.sendBytes(1)
				} else {
					w.send(s)
				}
			}
			if said := w.wantEnd(); len(said) != 0 {
				t.Errorf("the server says %q", said)
			}
		})
	}
}

func TestDisconnect(t *testing.T) {
	t.Parallel()
	w := newRig(t, Config{}, echo).in()
	w.want(`42["auth",{}]`)
	w.send("40/custom")
	w.read()
	w.want(`42/custom,["auth",{}]`)
	w.send("41/custom,")
	w.send(`42/custom,["message","to nobody"]`)
	w.send(`42["message","message to main namespace"]`)
	w.want(`42["message-back","message to main namespace"]`)
}

func TestEvents(t *testing.T) {
	t.Parallel()
	w := newRig(t, Config{}, echo).in()
	w.want(`42["auth",{}]`)
	for send, want := range map[string]string{
		`42["message",1,"2",{"3":[true]}]`:              `42["message-back",1,"2",{"3":[true]}]`,
		`42["message"]`:                                 `42["message-back"]`,
		`42456["message-with-ack",1,"2",{"3":[false]}]`: `43456[1,"2",{"3":[false]}]`,
		`420["message-with-ack"]`:                       `430[]`,
		`42["message","ünï ✓ 🦄"]`:                       `42["message-back","ünï ✓ 🦄"]`,
		`450-["message","no attachment"]`:               `42["message-back","no attachment"]`,
	} {
		w.send(send)
		w.want(want)
	}
}

func TestBinaryEvents(t *testing.T) {
	t.Parallel()
	w := newRig(t, Config{}, echo).in()
	w.want(`42["auth",{}]`)
	w.send(`452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	w.sendBytes(1, 2, 3)
	w.sendBytes(4, 5, 6)
	w.want(`452-["message-back",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "\x01\x02\x03", "\x04\x05\x06")
	w.send(`452-789["message-with-ack",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	w.sendBytes(1, 2, 3)
	w.sendBytes(4, 5, 6)
	w.want(`462-789[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "\x01\x02\x03", "\x04\x05\x06")
}

func TestEventTooLargeWithAttachments(t *testing.T) {
	t.Parallel()
	w := newRig(t, Config{MaxPayload: 1000}, echo).in()
	w.want(`42["auth",{}]`)
	w.send(`452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	w.sendBytes(make([]byte, 600)...)
	w.sendBytes(make([]byte, 600)...)
	w.wantEnd()
}

func TestBind(t *testing.T) {
	t.Parallel()
	type file struct {
		Name string
		Body Binary
	}
	name, args, err := parseEvent([]byte(`["upload",{"Name":"a","Body":{"_placeholder":true,"num":1}},{"_placeholder":true,"num":0},"AQI=",3]`), [][]byte{{7}, {8, 9}})
	if err != nil || name != "upload" || args.Len() != 4 {
		t.Fatalf("%q %v %v", name, args, err)
	}
	var f file
	var second, third Binary
	var n int
	if err := args.Bind(&f, &second, &third, &n); err != nil {
		t.Fatal(err)
	}
	if f.Name != "a" || string(f.Body) != "\x08\x09" || string(second) != "\x07" || string(third) != "\x01\x02" || n != 3 {
		t.Errorf("got %v %v %v %d", f, second, third, n)
	}
	for what, dst := range map[string][]any{
		"more than there are": {&f, &second, &third, &n, &n}, "another kind": {&n},
	} {
		if err := args.Bind(dst...); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	for _, bad := range []string{`{"_placeholder":true,"num":2}`, `{"_placeholder":true,"num":-1}`, `{"num":0}`, `{}`} {
		_, args, err := parseEvent([]byte(`["x",`+bad+`]`), [][]byte{{7}, {8}})
		if err != nil {
			t.Fatal(err)
		}
		if err := args.Bind(&second); err == nil {
			t.Errorf("%s was read as an attachment", bad)
		}
	}
}

func TestEmitRefuses(t *testing.T) {
	t.Parallel()
	n := newNamespace("/")
	n.add(newSocket(nil, n)) // who would get it
	for name, err := range map[string]error{
		"reserved":             n.To().Emit("connect"),
		"no JSON":              n.To().Emit("x", func() {}),
		"a forged placeholder": n.To().Emit("x", json.RawMessage(`{"_placeholder":true,"num":0}`), Binary{1}),
	} {
		if err == nil {
			t.Errorf("%s was emitted", name)
		}
	}
	if _, err := encodeEvent("/", "x", 0, false, []any{json.RawMessage(`{"_placeholder":true,"num":0}`)}); err != nil {
		t.Errorf("without attachments it is a value like another: %v", err)
	}
}
