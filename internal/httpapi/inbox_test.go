package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
)

// inboxRig is a closed API with users' tokens.
type inboxRig struct {
	*service
	t    *testing.T
	key  []string // the header of a key for notifications
	hers []string // of Ann's token, who is in room a
}

func newInboxRig(t *testing.T) *inboxRig {
	return &inboxRig{
		serve(t, withKeys(t), withTokens(t)), t,
		[]string{"X-API-Key", "nobody-secret-0000"}, []string{"Authorization", "Bearer " + tokenOf(t, "ann", map[string]any{"rooms": []string{"a", "b"}})},
	}
}

// post sends a notification and returns its id.
func (r *inboxRig) post(body string) string {
	r.t.Helper()
	return r.service.post("/api/notifications", body, r.key...).want(http.StatusCreated).str("id")
}

// inboxAnswer is a page as a test looks at it.
type inboxAnswer struct {
	Notifications []entryView
	NextCursor    string `json:"next_cursor"`
	Unread        int64
	Last          map[string]int64
}

func (r *inboxRig) list(query string, header []string) (out inboxAnswer) {
	r.t.Helper()
	a := r.get("/api/notifications/ann"+query, header...).want(http.StatusOK)
	if err := json.Unmarshal([]byte(a.text), &out); err != nil {
		r.t.Fatal(err)
	}
	return out
}

func messages(page inboxAnswer) string {
	var out []string
	for _, n := range page.Notifications {
		out = append(out, n.Message)
	}
	return strings.Join(out, " ")
}

func TestInboxOverHTTP(t *testing.T) {
	r := newInboxRig(t)
	first := r.post(`{"receiverId":"ann","message":"1","type":"success","data":{"order":7}}`)
	r.post(`{"everyone":true,"message":"2"}`)
	r.post(`{"room":"a","message":"3"}`)
	r.post(`{"room":"c","message":"not hers"}`)
	r.post(`{"receiverId":"bob","message":"not hers"}`)
	last := r.post(`{"receiverId":"ann","message":"4"}`)

	page := r.list("", r.hers)
	if len(page.Notifications) != 4 || page.Unread != 4 || fmt.Sprint(page.Last) != "map[everyone:1 room:a:1 room:b:0 user:ann:2]" {
		t.Fatalf("her inbox is %+v", page)
	}
	if got := messages(r.list("?room=c", r.key)); !strings.Contains(got, "not hers") {
		t.Errorf("a key that names a room reads %q", got)
	}
	a := r.get("/api/notifications/ann?limit=200", r.hers...).want(http.StatusOK)
	for _, want := range []string{`"isRead":false`, `"timestamp":"20`, `"receiverId":"ann"`, `"room":"a"`, `"data":{"order":7}`, `"type":"success"`} {
		if !strings.Contains(a.text, want) {
			t.Errorf("the answer lacks %s: %s", want, a.text)
		}
	}

	// Pages meet without a seam.
	var paged []string
	for cursor := ""; ; {
		p := r.list("?limit=1"+cursor, r.hers)
		paged = append(paged, messages(p))
		if p.NextCursor == "" {
			break
		}
		cursor = "&cursor=" + p.NextCursor
	}
	if strings.Join(paged, " ") != messages(page) {
		t.Errorf("paged it reads %v, at once %q", paged, messages(page))
	}

	read := r.call(http.MethodPut, "/api/notifications/"+first+"/read", "", r.hers...).want(http.StatusOK)
	if read.json["isRead"] != true || read.str("id") != first {
		t.Errorf("read, it is %s", read.text)
	}
	if p := r.list("?unread=true", r.hers); len(p.Notifications) != 3 || p.Unread != 3 {
		t.Errorf("unread are %+v", p)
	}
	r.call(http.MethodPut, "/api/notifications/"+last+"/archive?userId=ann", "", r.key...).want(http.StatusOK)
	if p := r.list("?archived=true", r.hers); messages(p) != "4" || !p.Notifications[0].IsArchived || !p.Notifications[0].IsRead {
		t.Errorf("archived are %+v", p)
	}
	counts := r.call(http.MethodPut, "/api/notifications/ann/seen", "", r.hers...).want(http.StatusOK)
	if counts.json["count"] != 2.0 || counts.json["unseen"] != 0.0 {
		t.Errorf("once seen, the counts are %s", counts.text)
	}
	r.call(http.MethodPut, "/api/notifications/ann/read-all", "", r.hers...).want(http.StatusOK)
	if c := r.get("/api/notifications/ann/unread-count", r.hers...).want(http.StatusOK); c.json["count"] != 0.0 || c.json["version"].(float64) < counts.json["version"].(float64) {
		t.Errorf("when all is read, the counts are %s", c.text)
	}
	r.call(http.MethodPut, "/api/notifications/ann/archive-all", "", r.hers...).want(http.StatusOK)
	if p := r.list("", r.hers); len(p.Notifications) != 0 {
		t.Errorf("when all is archived, there are %+v", p)
	}

	// What came after.
	var after struct{ Streams []stretchView }
	got := r.get("/api/notifications/ann/after?last=user:ann:1&last=room:a:0&last=everyone:1&last=room:b:5", r.hers...).want(http.StatusOK)
	if err := json.Unmarshal([]byte(got.text), &after); err != nil {
		t.Fatal(err)
	}
	if s := after.Streams; len(s) != 4 || len(s[0].Notifications) != 1 || s[0].Through != 2 || s[0].Notifications[0].ID != job.ID(last) ||
		len(s[1].Notifications) != 1 || len(s[2].Notifications) != 0 || s[2].Through != 1 || s[3].Through != 0 || s[0].More {
		t.Errorf("after the sequences came %s", got.text)
	}
}

// TestInboxIsOnesOwn holds whose inbox a token opens, and a key.
func TestInboxIsOnesOwn(t *testing.T) {
	r := newInboxRig(t)
	his, theirs := r.post(`{"receiverId":"bob","message":"for bob"}`), r.post(`{"room":"c","message":"for room c"}`)
	for _, c := range []struct {
		method, path string
		header       []string
		want         int
	}{
		{http.MethodGet, "/ann", r.hers, 200}, {http.MethodGet, "/ann?room=a", r.hers, 200}, {http.MethodGet, "/bob", r.key, 200},
		{http.MethodGet, "/bob", r.hers, 403}, {http.MethodGet, "/Ann", r.hers, 403}, {http.MethodGet, "/ann?room=c", r.hers, 403},
		{http.MethodGet, "/bob/unread-count", r.hers, 403}, {http.MethodGet, "/bob/after?last=user:bob:0", r.hers, 403},
		{http.MethodGet, "/ann/after?last=user:bob:0", r.hers, 404}, {http.MethodGet, "/ann/after?last=room:c:0", r.hers, 404},
		{http.MethodPut, "/bob/read-all", r.hers, 403}, {http.MethodPut, "/bob/archive-all", r.hers, 403}, {http.MethodPut, "/bob/seen", r.hers, 403},
		{http.MethodPut, "/" + his + "/read", r.hers, 404}, {http.MethodPut, "/" + theirs + "/archive", r.hers, 404},
		{http.MethodPut, "/" + his + "/read?userId=bob", r.hers, 403}, {http.MethodPut, "/" + theirs + "/read?room=c", r.hers, 403},
		{http.MethodPut, "/" + his + "/read?userId=bob", r.key, 200}, {http.MethodPut, "/" + his + "/read", r.key, 422}, {http.MethodPut, "/" + his + "/read?userId=ann", r.key, 404},
		{http.MethodPut, "/nothing/read", r.hers, 404}, {http.MethodPut, "/0198c1f0-7a52-7c3e-9b1d-2f6a8e4c5b70/read", r.hers, 404},
		{http.MethodGet, "/ann", []string{"X-API-Key", "other-secret-00000"}, 403}, {http.MethodGet, "/ann", nil, 401},
		{http.MethodGet, "/ann", []string{"Authorization", "Bearer " + tokenOf(t, "ann", map[string]any{"exp": 1})}, 401},
		{http.MethodGet, "/ann/after", r.hers, 422}, {http.MethodGet, "/ann/after?last=user:ann", r.hers, 422}, {http.MethodGet, "/ann/after?last=user:ann:-1", r.hers, 422},
		{http.MethodGet, "/ann/after?last=17", r.hers, 404}, {http.MethodGet, "/ann?cursor=x", r.hers, 422}, {http.MethodGet, "/ann?limit=201", r.hers, 422}, {http.MethodGet, "/ann?unread=true&archived=true", r.hers, 422},
		{http.MethodGet, "/" + strings.Repeat("x", 129), r.key, 422}, {http.MethodGet, "/a%0Ab", r.key, 422},
	} {
		if a := r.call(c.method, "/api/notifications"+c.path, "", c.header...); a.status != c.want {
			t.Errorf("%s %s is answered with %d, want %d: %s", c.method, c.path, a.status, c.want, a.text)
		}
	}
	r.service.post("/api/notifications", `{"everyone":true,"message":"m"}`, r.hers...).want(http.StatusForbidden)

	// An id that looks like a path is one all the same.
	odd := "a/b c?d"
	r.post(`{"receiverId":"a/b c?d","message":"odd"}`)
	if a := r.get("/api/notifications/"+url.PathEscape(odd), "Authorization", "Bearer "+tokenOf(t, odd, nil)).want(http.StatusOK); !strings.Contains(a.text, `"odd"`) {
		t.Errorf("the inbox of %q is %s", odd, a.text)
	}
}

// TestPostNotification holds what is taken, and that a repeat makes no second
// one.
func TestPostNotification(t *testing.T) {
	r := newInboxRig(t)
	for body, want := range map[string]int{
		`{"receiverId":"ann","message":"m"}`:             201,
		`{"receiverId":"ann","message":"m","data":null}`: 201,
		`{"receiverId":"ann","room":"a","message":"m"}`:  422,
		`{"message":"m"}`:                                                      422,
		`{"receiverId":"ann","message":" "}`:                                   422,
		`{"receiverId":"ann","message":"m","type":"loud"}`:                     422,
		`{"receiverId":"ann","message":"m","delay":5}`:                         422,
		`{"receiverId":"ann","message":"` + strings.Repeat("x", 10_001) + `"}`: 422,
		`[]`: 422,
		`{`:  400,
	} {
		if a := r.service.post("/api/notifications", body, r.key...); a.status != want {
			t.Errorf("%.60s is answered with %d, want %d: %s", body, a.status, want, a.text)
		}
	}
	named := append([]string{"Idempotency-Key", "k1"}, r.key...)
	one := r.service.post("/api/notifications", `{"room":"a","message":"once"}`, named...).want(http.StatusCreated)
	two := r.service.post("/api/notifications", `{"room":"a","message":"once"}`, named...).want(http.StatusCreated)
	if one.text != two.text || one.header.Get("Idempotency-Replayed") != "" || two.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("a repeat is answered %v %s, the first was %s", two.header, two.text, one.text)
	}
	r.service.post("/api/notifications", `{"room":"a","message":"other"}`, named...).want(http.StatusConflict)
	boss := r.service.post("/api/notifications", `{"room":"a","message":"other"}`, "Idempotency-Key", "k1", "X-API-Key", "boss-secret-000000").want(http.StatusCreated)
	if boss.str("id") == one.str("id") {
		t.Error("two callers' keys are one")
	}
}

// Rooms that the token does not list are asked about, and open only then.
func TestInboxOfOtherRooms(t *testing.T) {
	s := serve(t, withKeys(t), withTokens(t), func(o *Options) {
		o.MayEnter = func(_ context.Context, who auth.Identity, room string) (bool, error) {
			if room == "broken" {
				return false, errors.New("nobody can tell")
			}
			return who.ID == "ann" && (room == "open" || slices.Contains(who.Rooms, room)), nil
		}
	})
	token := "Bearer " + tokenOf(t, "ann", map[string]any{"rooms": []string{"red"}})
	for rooms, want := range map[string]int{
		"room=red&room=open": http.StatusOK, "room=red": http.StatusOK, "room=closed": http.StatusForbidden,
		"room=open&room=closed": http.StatusForbidden, "room=broken": http.StatusServiceUnavailable, "room=%0A": http.StatusForbidden,
		strings.Repeat("room=open&", 21): http.StatusForbidden,
	} {
		s.call(http.MethodGet, "/api/notifications/ann/unread-count?"+rooms, "", "Authorization", token).want(want)
	}
}
