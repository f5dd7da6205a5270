package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/chat"
	"github.com/postrider/postrider/internal/chat/chattest"
	"github.com/postrider/postrider/internal/testkit"
)

// silent pushes nothing.
type silent struct{}

func (silent) MessageSent(context.Context, chat.Message) error       { return nil }
func (silent) MessageDeleted(context.Context, string, chat.ID) error { return nil }

// withChats gives the API rooms that work.
func withChats(t testing.TB) func(*Options) {
	rdb := testkit.Redis(t).Client()
	return func(o *Options) {
		o.Chats = chat.New(chat.Options{Redis: rdb, Archive: chattest.NewMemory(), Push: silent{}, Log: o.Log})
	}
}

func TestChatOverHTTP(t *testing.T) {
	s := serve(t, withKeys(t), withTokens(t), withChats(t), func(o *Options) {
		o.MayEnter = func(_ context.Context, user auth.Identity, room string) (bool, error) {
			if room == "broken" {
				return false, errors.New("a secret of the server")
			}
			return slices.Contains(user.Rooms, room) || user.ID == "ann" && room == "open", nil
		}
	})
	key := []string{"X-API-Key", "nobody-secret-0000"}
	hers := []string{"Authorization", "Bearer " + tokenOf(t, "ann", map[string]any{"rooms": []string{"a"}})}
	post := func(room, body string) string {
		t.Helper()
		return s.post("/api/rooms/"+room+"/messages", body, key...).want(http.StatusCreated).str("id")
	}
	type roomAnswer struct {
		Messages   []messageView
		NextCursor string `json:"next_cursor"`
	}
	list := func(query string, header []string) (out roomAnswer, texts string) {
		t.Helper()
		a := s.get("/api/rooms/a/messages"+query, header...).want(http.StatusOK)
		if err := json.Unmarshal([]byte(a.text), &out); err != nil {
			t.Fatal(err)
		}
		for _, m := range out.Messages {
			texts += m.Text + ";"
		}
		return out, texts
	}
	first := post("a", `{"userId":"ann","text":"one","client_id":"c1","data":{"n":1}}`)
	if again := post("a", `{"userId":"ann","text":"one","client_id":"c1"}`); again != first {
		t.Errorf("sent again it is %s, want %s", again, first)
	}
	second := post("a", `{"text":"two hello"}`)
	third := post("a", `{"userId":"bob","text":"three HELLO"}`)
	post("b", `{"text":"elsewhere"}`)
	for _, header := range [][]string{key, hers} {
		page, texts := list("", header)
		if texts != "three HELLO;two hello;one;" || page.NextCursor != "" {
			t.Errorf("the room has %q, next %q", texts, page.NextCursor)
		}
		if m := page.Messages[2]; m.ID != first || m.UserID != "ann" || m.ClientID != "c1" || string(m.Data) != `{"n":1}` || m.Room != "a" || m.Timestamp.IsZero() {
			t.Errorf("a message is %+v", m)
		}
		if page.Messages[1].UserID != "system" {
			t.Errorf("a message without a user is %s's", page.Messages[1].UserID)
		}
	}
	page, texts := list("?limit=2", hers)
	if _, more := list("?limit=2&before="+page.NextCursor, hers); texts+more != "three HELLO;two hello;one;" {
		t.Errorf("by pages it has %q and %q", texts, more)
	}
	for query, want := range map[string]string{
		"?after=" + first: "three HELLO;two hello;", "?after=" + first + "&before=" + third: "two hello;",
		"?q=hello": "three HELLO;two hello;", "?q=Hello+two": "two hello;", "?q=none": "",
	} {
		if _, texts := list(query, hers); texts != want {
			t.Errorf("%s finds %q, want %q", query, texts, want)
		}
	}
	remove := func(room, id string, header []string) answer {
		return s.call(http.MethodDelete, "/api/rooms/"+room+"/messages/"+id, "", header...)
	}
	remove("a", second, hers).want(http.StatusForbidden)
	remove("b", first, hers).want(http.StatusForbidden)
	remove("a", first, hers).want(http.StatusNoContent)
	remove("a", first, hers).want(http.StatusNoContent)
	remove("a", second, key).want(http.StatusNoContent)
	remove("a", "1-1", key).want(http.StatusNotFound)
	remove("a", "x", key).want(http.StatusNotFound)
	if _, texts := list("", hers); texts != "three HELLO;" {
		t.Errorf("then the room has %q", texts)
	}

	s.get("/api/rooms/b/messages", hers...).want(http.StatusForbidden)
	s.get("/api/rooms/open/messages", hers...).want(http.StatusOK)
	if a := s.get("/api/rooms/broken/messages", hers...).want(http.StatusServiceUnavailable); strings.Contains(a.text, "secret") {
		t.Errorf("it tells %s", a.text)
	}
	s.get("/api/rooms/a/messages").want(http.StatusUnauthorized)
	s.post("/api/rooms/a/messages", `{"text":"x"}`, hers...).want(http.StatusForbidden)
	for _, bad := range []string{`{}`, `{"text":""}`, fmt.Sprintf(`{"text":%q}`, strings.Repeat("x", chat.MaxText+1)), `{"text":"x","other":1}`, `{"text":"x","client_id":"\n"}`} {
		s.post("/api/rooms/a/messages", bad, key...).want(http.StatusUnprocessableEntity)
	}
	for _, bad := range []string{"?before=x", "?after=1", "?limit=0", "?limit=201", "?q=..."} {
		s.get("/api/rooms/a/messages"+bad, hers...).want(http.StatusUnprocessableEntity)
	}
	s.get("/api/rooms/"+strings.Repeat("x", 129)+"/messages", key...).want(http.StatusUnprocessableEntity)
}
