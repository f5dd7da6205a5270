package live

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/chat"
	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/testkit"
)

type object map[string]any

// read reads an argument.
func read[T any](t *testing.T, text string) (out T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return out
}

// inRed are users of both processes who have entered the room "red".
func inRed(t *testing.T, a, b *process) (ann, bob, outsider *client) {
	t.Helper()
	red := []string{"red"}
	ann, bob, outsider = a.as(user{ID: "ann", Rooms: red}), b.as(user{ID: "bob", Rooms: red}), b.as(user{ID: "cyd", Rooms: red})
	ann.ask("join_room", "red")
	bob.ask("join_room", "red")
	return ann, bob, outsider
}

// What is said for the moment reaches all who have entered the room, and nobody
// else.
func TestRoomMessage(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	ann, bob, outsider := inRed(t, a, b)
	if got := ann.ask("room_message", object{"room": "red", "message": "hi", "data": object{"n": 1}, "userId": "forged"}); got != `{"ok":true,"room":"red"}` {
		t.Errorf("it is answered %s", got)
	}
	for _, c := range []*client{ann, bob} {
		got := read[roomMessage](t, c.want("room_message"))
		if got.Room != "red" || got.UserID != "ann" || string(got.Message) != `"hi"` || string(got.Data) != `{"n":1}` || time.Since(got.Timestamp).Abs() > time.Hour {
			t.Errorf("got %+v", got)
		}
	}
	ann.ask("room_message", object{"room": "red", "message": object{"a": []int{1}}, "except_me": true})
	if got := bob.want("room_message"); !strings.Contains(got, `"message":{"a":[1]}`) {
		t.Errorf("got %s", got)
	}
	ann.never(a, inbox.Of("ann"), "room_message")
	outsider.never(b, inbox.Of("cyd"), "room_message")
	for _, bad := range []object{
		{"room": "red"}, {"room": "red", "message": strings.Repeat("x", maxRelayed)}, {"room": "red", "message": 1, "data": strings.Repeat("x", maxRelayed)}, {"message": "hi"},
	} {
		if got := ann.ask("room_message", bad); !strings.HasPrefix(got, `{"ok":false,"error":"`) {
			t.Errorf("it is answered %s", got)
		}
	}
	for _, event := range []string{"room_message", "typing", "chat_message", "chat_history"} {
		if got := outsider.ask(event, object{"room": "red", "message": "x", "typing": true, "text": "x"}); !strings.Contains(got, `"ok":false,"error":"you have not entered this room"`) {
			t.Errorf("%s from outside is answered %s", event, got)
		}
	}
}

// That somebody types is told to the others, not at each keystroke, and ends by
// itself.
func TestTyping(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	ann, bob, _ := inRed(t, a, b)
	const begins, ends = `{"room":"red","userId":"ann","typing":true}`, `{"room":"red","userId":"ann","typing":false}`
	want := func(what string) {
		t.Helper()
		if got := bob.want("typing"); got != what {
			t.Errorf("got %s, want %s", got, what)
		}
	}
	begin := func() {
		t.Helper()
		if got := ann.ask("typing", object{"room": "red", "typing": true}); got != `{"ok":true,"room":"red"}` {
			t.Errorf("it is answered %s", got)
		}
	}
	begin()
	want(begins)
	want(ends) // by itself
	for range 20 {
		begin()
	}
	want(begins)
	ann.ask("typing", object{"room": "red", "typing": false})
	told := 0
	for bob.want("typing") != ends {
		told++
	}
	if told > 5 { // unless the machine sleeps between, it is none
		t.Errorf("20 keystrokes are told %d times", 1+told)
	}
	ann.ask("typing", object{"room": "red", "typing": false})
	ann.never(a, inbox.Of("ann"), "typing")
	bob.never(b, inbox.Of("bob"), "typing")

	for _, stops := range []func(){
		func() { ann.ask("chat_message", object{"room": "red", "text": "done"}) },
		func() { ann.ask("leave_room", "red"); ann.ask("join_room", "red") },
		func() { ann.end() },
	} {
		begin()
		want(begins)
		stops()
		want(ends)
	}
	if got := bob.ask("typing", object{"room": "red"}); got != `{"ok":false,"error":"typing must be true or false","room":"red"}` {
		t.Errorf("it is answered %s", got)
	}
}

func TestChat(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	ann, bob, outsider := inRed(t, a, b)
	if got := bob.want("chat_history"); got != `{"room":"red","messages":[]}` {
		t.Errorf("who comes into an empty room is told %s", got)
	}
	said := object{"room": "red", "text": "hello", "client_id": "c1", "data": object{"n": 1}}
	sent := read[answer](t, ann.ask("chat_message", said))
	if id, err := chat.ParseID(sent.ID); !sent.OK || err != nil || sent.Timestamp.UnixMilli() != id.MS {
		t.Errorf("it is answered %+v", sent)
	}
	want := chatMessage{sent.ID, "red", "ann", "hello", []byte(`{"n":1}`), "c1", sent.Timestamp}
	for _, c := range []*client{ann, bob} {
		if got := read[chatMessage](t, c.want("chat_message")); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if again := read[answer](t, ann.ask("chat_message", said)); !again.OK || again.ID != sent.ID {
		t.Errorf("sent again it is %+v", again)
	}
	for _, c := range []*client{ann, bob, outsider} {
		c.never(b, inbox.Everyone, "chat_message")
	}
	for i := range 5 {
		bob.ask("chat_message", object{"room": "red", "text": fmt.Sprint("line ", i)})
	}
	for _, bad := range []any{object{"room": "red"}, object{"room": "red", "text": strings.Repeat("x", chat.MaxText+1)}, object{"room": "red", "text": 7}, "red"} {
		if got := read[answer](t, ann.ask("chat_message", bad)); got.OK || got.Error == "" || got.Error == errNow.Error() {
			t.Errorf("%.50v is answered %+v", bad, got)
		}
	}

	outsider.ask("join_room", "red")
	got := read[chatHistory](t, outsider.want("chat_history"))
	if len(got.Messages) != 3 || got.Messages[0].Text != "line 2" || got.Messages[2].Text != "line 4" || got.Cursor != got.Messages[0].ID {
		t.Errorf("who comes in is told %+v", got)
	}
	before := read[answer](t, outsider.ask("chat_history", object{"room": "red", "before": got.Cursor, "limit": 2}))
	if len(before.Messages) != 2 || before.Messages[0].Text != "line 0" || before.Cursor != before.Messages[0].ID {
		t.Errorf("before that was %+v", before)
	}
	first := read[answer](t, outsider.ask("chat_history", object{"room": "red", "before": before.Cursor}))
	if len(first.Messages) != 1 || fmt.Sprint(first.Messages[0]) != fmt.Sprint(want) || first.Cursor != "" {
		t.Errorf("the first was %+v", first)
	}
	if got := read[answer](t, outsider.ask("chat_history", "red")); len(got.Messages) != 3 {
		t.Errorf("by the room's name it is %+v", got)
	}
	for _, bad := range []object{{"room": "red", "limit": 0}, {"room": "red", "limit": 201}, {"room": "red", "before": "x"}, {"room": "red", "limit": "x"}} {
		if got := read[answer](t, outsider.ask("chat_history", bad)); got.OK || got.Error != errHistory.Error() {
			t.Errorf("%v is answered %+v", bad, got)
		}
	}

	id, err := chat.ParseID(sent.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.chat.Delete(t.Context(), "red", id, ""); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client{ann, bob, outsider} {
		if got := c.want("chat_deleted"); got != `{"id":"`+sent.ID+`","room":"red"}` {
			t.Errorf("got %s", got)
		}
	}
	none := read[answer](t, outsider.ask("chat_history", object{"room": "red", "before": before.Cursor}))
	if !none.OK || none.Messages == nil || len(none.Messages) != 0 {
		t.Errorf("it is still there: %+v", none)
	}
}

// What one client can make no other can be kept from: data that names a thing
// twice, or half an emoji, would otherwise be stored, and then keep the whole
// history from all who come.
func TestOddMessagesReachAll(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	ann, bob, _ := inRed(t, a, b)
	bob.want("chat_history") // of coming in
	for _, odd := range []string{
		`{"room":"red","text":"twice","data":{"a":1,"a":2}}`, `{"room":"red","text":"half \ud83d","data":"\ud83d"}`,
	} {
		if got := ann.ask("chat_message", json.RawMessage(odd)); !strings.Contains(got, `"ok":true`) {
			t.Fatalf("%s is answered %s", odd, got)
		}
		bob.want("chat_message")
		if got := bob.ask("chat_history", "red"); !strings.Contains(got, `"messages":[{`) {
			t.Errorf("after %s the history is %s", odd, got)
		}
		bob.ask("leave_room", "red")
		bob.ask("join_room", "red")
		bob.want("chat_history")
	}
}

// A room may be named by a number, and in both of an object's fields.
func TestRoomsNamedOtherwise(t *testing.T) {
	t.Parallel()
	p := start(t, testkit.Redis(t).Client(), options{})
	p.ready()
	ann := p.as(user{ID: "ann", Rooms: []string{"42"}})
	for _, is := range []struct {
		event string
		arg   any
	}{
		{"join_room", 42}, {"joinRoom", object{"roomId": 42}}, {"join_room", object{"room": "42", "roomId": "42"}}, {"chat_history", 42},
		{"chat_message", object{"room": 42, "text": "x", "client_id": "c", "clientId": "c"}}, {"typing", object{"roomId": 42, "typing": true}}, {"leave_room", 42},
	} {
		if got := ann.ask(is.event, is.arg); !strings.Contains(got, `"ok":true`) || !strings.Contains(got, `"room":"42"`) {
			t.Errorf("%s %v is answered %s", is.event, is.arg, got)
		}
	}
	if got := read[chatMessage](t, ann.want("chat_message")); got.ClientID != "c" {
		t.Errorf("got %+v", got)
	}
}
