package socketio

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"
)

func FuzzPayload(f *testing.F) {
	for _, seed := range []string{"4hello", "4a\x1e2\x1e4b", "4hello\x1ebAQIDBA==", "", "\x1e", "b", "b=", "4\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		packets, err := parsePayload(body)
		if err != nil {
			return
		}
		frames := make([]*frame, len(packets))
		for i, p := range packets {
			if p.binary {
				frames[i] = binaryFrame(p.data)
				continue
			}
			if !utf8.Valid(p.data) {
				t.Fatalf("text that is not UTF-8: %q", p.data)
			}
			frames[i] = textFrame(append([]byte{p.kind}, p.data...))
		}
		again, err := parsePayload(encodePayload(frames))
		if err != nil || len(again) != len(packets) {
			t.Fatalf("%q was read as %v, which is written as %q: %v", body, packets, encodePayload(frames), err)
		}
		for i, p := range packets {
			if p.kind != again[i].kind || p.binary != again[i].binary || !bytes.Equal(p.data, again[i].data) {
				t.Fatalf("%q: packet %d was %v, and is %v", body, i, p, again[i])
			}
		}
	})
}

func FuzzPacket(f *testing.F) {
	for _, seed := range []string{
		"0", `0{"token":"x"}`, "0/admin,", "1", "1/admin,", `2["a"]`, `2/admin,12["a",1]`, `312[]`,
		`51-["a",{"_placeholder":true,"num":0}]`, `61-/admin,15["a",{"_placeholder":true,"num":0}]`, `20["a"]`, `2007["a"]`, "2/a",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parsePacket(text, 10)
		if err != nil {
			return
		}
		again, err := parsePacket(p.append(nil)[1:], 10)
		if err != nil || p.kind != again.kind || p.namespace != again.namespace || p.id != again.id || p.hasID != again.hasID ||
			p.attachments != again.attachments || !bytes.Equal(p.payload, again.payload) {
			t.Fatalf("%q was read as %+v, which is written as %q and read as %+v: %v", text, p, p.append(nil), again, err)
		}
		if p.kind != sioEvent {
			return
		}
		name, args, err := parseEvent(p.payload, nil)
		if err != nil {
			return
		}
		list := make([]any, args.Len())
		for i := range list {
			if list[i] = args.Raw(i); !json.Valid(args.Raw(i)) {
				t.Fatalf("%q: argument %d is %q", text, i, args.Raw(i))
			}
		}
		if _, err := encodeEvent(p.namespace, name, p.id, p.hasID, list); err != nil && utf8.Valid(text) && !bytes.Contains(text, []byte("{")) {
			t.Fatalf("%q cannot be sent on: %v", text, err)
		}
	})
}
