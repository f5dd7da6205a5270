package live

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/testkit"
)

// Clients hear the tutorials' names too, unless they have shown that they know
// ours, or the setting is off.
func TestAliases(t *testing.T) {
	t.Parallel()
	rdb := testkit.Redis(t).Client()
	p := start(t, rdb, options{})
	off := start(t, rdb, options{config: func(c *Config) { c.Aliases = false }})
	p.ready()
	off.ready()
	tutorial, other := p.as(user{ID: "ann", Rooms: []string{"red"}}), off.as(user{ID: "ann", Rooms: []string{"red"}})
	ours := p.connect(token(t, user{ID: "ann", Rooms: []string{"red"}}), map[string]int64{})
	ours.want("connect")

	for _, is := range []struct {
		n     inbox.Notification
		names []string
	}{
		{inbox.Notification{Stream: inbox.Of("ann"), Message: "a"}, []string{"receiveNotification"}},
		{inbox.Notification{Stream: inbox.OfRoom("red"), Message: "b"}, []string{"receiveNotification", "room_notification"}},
		{inbox.Notification{Stream: inbox.Everyone, Message: "c"}, []string{"receiveNotification", "global_notification"}},
		{inbox.Notification{Stream: inbox.Everyone, Message: "d", Type: "system"}, []string{"receiveNotification", "server_announcement"}},
	} {
		if err := p.pub.Publish(t.Context(), []inbox.Notification{is.n}); err != nil {
			t.Fatal(err)
		}
		want := tutorial.want("notification")
		for _, name := range is.names {
			if got := tutorial.want(name); !strings.Contains(got, `"message":"`+is.n.Message+`"`) {
				t.Errorf("%s is %s, beside %s", name, got, want)
			}
		}
		ours.want("notification")
		other.want("notification")
	}
	tutorial.ask("joinRoom", map[string]string{"room": "red", "username": "ann"})
	tutorial.want("userJoined")
	for _, c := range []*client{ours, other} {
		c.never(p, inbox.Of("ann"), "receiveNotification", "room_notification", "global_notification", "server_announcement", "userJoined")
	}
	tutorial.never(p, inbox.Of("ann"), "room_notification", "global_notification", "server_announcement")
	if got := tutorial.ask("leaveRoom", "red"); got != `{"ok":true,"room":"red"}` {
		t.Errorf("leaveRoom: %s", got)
	}
}

// Who a client is comes from its token, whatever it says.
func TestIdentify(t *testing.T) {
	t.Parallel()
	p := start(t, testkit.Redis(t).Client(), options{})
	ann, number := p.as(user{ID: "ann"}), p.as(user{ID: "42"})
	own, other := token(t, user{ID: "ann"}), token(t, user{ID: "bob"})
	for _, said := range []any{"ann", map[string]any{"userId": "ann", "token": "x"}, map[string]any{"id": "ann"}, map[string]any{"token": own}, own, nil, []int{1}} {
		if got := ann.ask("authenticate", said); got != `{"ok":true,"userId":"ann"}` {
			t.Errorf("authenticate %v: %s", said, got)
		}
		if got := ann.want("authenticated"); got != `{"ok":true,"userId":"ann"}` {
			t.Errorf("authenticated with %s", got)
		}
	}
	if got := number.ask("registerUser", 42); got != `{"ok":true,"userId":"42"}` {
		t.Errorf("by a number: %s", got)
	}
	for _, said := range []any{"bob", 42, map[string]any{"userId": "bob"}, map[string]any{"token": other}, other, map[string]any{"token": "x"}} {
		if got := ann.ask("registerUser", said); !strings.Contains(got, `"ok":false`) || !strings.Contains(got, "another user") {
			t.Errorf("registerUser %v: %s", said, got)
		}
	}
	ann.say(`42["registerUser","bob"]`)
	if got := ann.want("error"); !strings.Contains(got, `"code":"forbidden"`) || !strings.Contains(got, `"event":"registerUser"`) {
		t.Errorf("without an acknowledgement: %s", got)
	}
	ann.never(p, inbox.Of("ann"), "authenticated")
	if err := p.pub.Publish(t.Context(), []inbox.Notification{{Stream: inbox.Of("bob")}}); err != nil {
		t.Fatal(err)
	}
	ann.never(p, inbox.Of("ann"), "notification")
}

// A user reaches themselves, those in their rooms, and whom the token's scope
// allows.
func TestNotify(t *testing.T) {
	t.Parallel()
	p := start(t, testkit.Redis(t).Client(), options{})
	p.ready()
	bob := p.as(user{ID: "bob", Rooms: []string{"red", "blue"}})
	plain := p.as(user{ID: "ann", Name: "Ann", Rooms: []string{"red"}})
	may := p.as(user{ID: "cyd", Scope: "profile notify"})
	all := p.as(user{ID: "dan", Scope: []string{"broadcast"}})
	hears := func(message string) map[string]any {
		t.Helper()
		var n struct {
			Type, Message string
			Data          map[string]any
		}
		if err := json.Unmarshal([]byte(bob.want("notification")), &n); err != nil {
			t.Fatal(err)
		}
		if n.Message != message {
			t.Errorf("it heard %+v, want %q", n, message)
		}
		n.Data["type in all"] = n.Type
		return n.Data
	}
	for _, is := range []struct {
		from  *client
		event string
		arg   any
		ok    bool
	}{
		{plain, "sendNotification", map[string]any{"receiverId": "bob", "message": "no"}, false},
		{plain, "send_notification", map[string]any{"room": "blue", "message": "no"}, false},
		{plain, "broadcastNotification", "no", false},
		{may, "broadcastNotification", map[string]any{"message": "no"}, false},
		{all, "sendNotification", map[string]any{"receiverId": "bob", "message": "no"}, false},
		{plain, "sendNotification", map[string]any{"room": "red", "message": "room"}, true},
		{may, "sendNotification", map[string]any{"receiverId": "bob", "message": "user"}, true},
		{may, "send_notification", map[string]any{"to": "bob", "text": "also"}, true},
		{all, "broadcastNotification", "everyone", true},
		{may, "sendNotification", map[string]any{"message": "to nobody"}, false},
		{may, "sendNotification", map[string]any{"receiverId": "bob"}, false},
		{may, "sendNotification", []string{"bob"}, false},
	} {
		got := is.from.ask(is.event, is.arg)
		if strings.Contains(got, `"ok":true,"id":"`) != is.ok {
			t.Errorf("%s %v: %s", is.event, is.arg, got)
		}
		if is.ok {
			switch arg := is.arg.(type) {
			case string:
				hears(arg)
			case map[string]any:
				message, _ := arg["message"].(string)
				if message == "" {
					message, _ = arg["text"].(string)
				}
				hears(message)
			}
		}
	}
	if got := plain.ask("sendNotification", map[string]any{"receiverId": "ann", "message": "to me"}); !strings.Contains(got, `"ok":true`) {
		t.Errorf("to oneself: %s", got)
	}

	plain.ask("sendNotification", map[string]any{
		"room": "red", "message": "m", "type": "like", "post": 7, "senderId": "bob", "senderName": "Bob", "data": map[string]any{"from": "bob", "page": "x"},
	})
	want := map[string]any{"type": "like", "post": 7.0, "page": "x", "senderId": "ann", "senderName": "Ann", "type in all": "info"}
	if got := hears("m"); len(got) != len(want) {
		t.Errorf("its data is %v, want %v", got, want)
	} else {
		for k := range want {
			if got[k] != want[k] {
				t.Errorf("its data is %v, want %v", got, want)
			}
		}
	}
	bob.never(p, inbox.Of("bob"), "notification")
}

// What is said in rooms, by the tutorials' names and in their shape.
func TestAliasesOfRooms(t *testing.T) {
	t.Parallel()
	p := start(t, testkit.Redis(t).Client(), options{})
	p.ready()
	rooms := []string{"red", "blue"}
	ann, bob := p.as(user{ID: "ann", Rooms: rooms}), p.as(user{ID: "bob", Rooms: rooms})
	ours := p.connect(token(t, user{ID: "cyd", Rooms: rooms}), map[string]int64{})
	for _, c := range []*client{ann, bob, ours} {
		c.ask("join_room", "red")
	}
	ann.want("chatHistory")
	has := func(got string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(got, part) {
				t.Errorf("got %s, without %s", got, part)
			}
		}
	}
	has(ann.ask("sendRoomMessage", map[string]any{"room": "red", "message": "hello", "username": "Bob", "author": "bob", "time": "12:00"}), `"ok":true`)
	for _, name := range []string{"receiveRoomMessage", "room_notification"} {
		has(bob.want(name), `"message":"hello"`, `"text":"hello"`, `"time":"12:00"`, `"username":"ann"`, `"author":"ann"`, `"senderId":"ann"`)
	}
	has(ann.ask("chatMessage", "just text"), `"ok":true,"id":"`)
	has(ann.ask("sendMessage", map[string]any{"roomId": "red", "text": "an object", "clientId": "1", "senderId": "bob"}), `"ok":true,"id":"`)
	for _, text := range []string{"just text", "an object"} {
		for _, name := range []string{"chatMessage", "receiveMessage"} {
			has(bob.want(name), `"message":"`+text+`"`, `"userId":"ann"`, `"senderId":"ann"`)
		}
		has(ours.want("chat_message"), `"text":"`+text+`"`)
	}
	bob.say(`42["chatHistory"]`)
	bob.want("chatHistory") // of coming in
	has(bob.want("chatHistory"), `"room":"red"`)
	has(bob.ask("chatHistory", "red"), `"messages":[{`, `just text`)

	for _, refused := range []struct {
		event string
		arg   any
	}{
		{"chatMessage", ""}, {"chatMessage", map[string]any{"room": "blue", "text": "x"}}, {"sendRoomMessage", map[string]any{"room": "blue", "message": "x"}},
		{"sendRoomMessage", map[string]any{"room": "red"}}, {"sendMessage", map[string]any{"receiverId": "bob", "text": "no scope"}},
	} {
		has(ann.ask(refused.event, refused.arg), `"ok":false`)
	}
	may := p.as(user{ID: "dan", Scope: "notify"})
	has(may.ask("sendMessage", map[string]any{"senderId": "dan", "receiverId": "bob", "text": "psst"}), `"ok":true`)
	has(bob.want("receiveMessage"), `"type":"message"`, `"text":"psst"`, `"senderId":"dan"`)
	ann.ask("joinRoom", "blue")
	has(ann.ask("chatMessage", "where?"), `"ok":false`)
	ours.never(p, inbox.Of("cyd"), "chatMessage", "receiveMessage", "receiveRoomMessage", "room_notification", "chatHistory")
}
