package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/cache"
	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/inbox/inboxtest"
	"github.com/postrider/postrider/internal/testkit"
)

// from asks for a user's inbox and says where the answer comes from.
func (r *inboxRig) from(path string, header []string) (string, answer) {
	r.t.Helper()
	a := r.get("/api/notifications/"+path, header...).want(http.StatusOK)
	return a.header.Get("X-Cache"), a
}

// What is kept of an inbox is its user's alone, and gone as soon as anything in
// it has changed.
func TestInboxIsKept(t *testing.T) {
	r := newInboxRig(t)
	bob := []string{"Authorization", "Bearer " + tokenOf(t, "bob", map[string]any{"rooms": []string{"a", "b"}})}
	first := r.post(`{"receiverId":"ann","message":"secret of ann"}`)
	r.post(`{"receiverId":"bob","message":"secret of bob"}`)
	for _, path := range []string{"ann", "ann/unread-count"} {
		if from, _ := r.from(path, r.hers); from != "miss" {
			t.Errorf("the first %s is a %s", path, from)
		}
		if from, _ := r.from(path, r.hers); from != "hit" {
			t.Errorf("the second %s is a %s", path, from)
		}
	}
	if from, a := r.from("bob", bob); from != "miss" || !strings.Contains(a.text, "secret of bob") || strings.Contains(a.text, "ann") {
		t.Errorf("bob gets a %s: %s", from, a.text)
	}
	// To ask for another's is refused however much of it is kept.
	r.get("/api/notifications/ann", bob...).want(http.StatusForbidden)
	// A key that names no room is told less than she is.
	r.post(`{"room":"a","message":"in the room"}`)
	r.from("ann", r.hers)
	if from, a := r.from("ann", r.key); from != "miss" || strings.Contains(a.text, "in the room") {
		t.Errorf("the key gets a %s: %s", from, a.text)
	}
	if from, a := r.from("ann?room=a&room=b", r.key); from != "hit" || !strings.Contains(a.text, "in the room") {
		t.Errorf("the key that names her rooms gets a %s: %s", from, a.text)
	}
	for _, other := range []string{"ann?limit=1", "ann?unread=true", "ann?archived=true"} {
		if from, _ := r.from(other, r.hers); from != "miss" {
			t.Errorf("%s is a %s", other, from)
		}
	}

	for _, change := range []struct {
		what string
		do   func()
	}{
		{"a room's notification", func() { r.post(`{"room":"b","message":"new in b"}`) }},
		{"everyone's", func() { r.post(`{"everyone":true,"message":"new to all"}`) }},
		{"her mark", func() { r.call(http.MethodPut, "/api/notifications/"+first+"/read", "", r.hers...).want(http.StatusOK) }},
		{"her marks", func() { r.call(http.MethodPut, "/api/notifications/ann/read-all", "", r.hers...).want(http.StatusOK) }},
	} {
		_, before := r.from("ann", r.hers)
		change.do()
		from, after := r.from("ann", r.hers)
		if from != "miss" || after.text == before.text {
			t.Errorf("after %s she gets a %s: %s", change.what, from, after.text)
		}
	}
	r.from("ann", r.hers)
	r.post(`{"receiverId":"bob","message":"not hers"}`)
	if from, _ := r.from("ann", r.hers); from != "hit" {
		t.Errorf("after another's notification she gets a %s", from)
	}
}

func TestUnchangedIs304(t *testing.T) {
	r := newInboxRig(t)
	r.post(`{"receiverId":"ann","message":"1"}`)
	writer := []string{"X-API-Key", "writer-secret-0000"}
	for path, header := range map[string][]string{
		"/api/notifications/ann": r.hers, "/api/notifications/ann/unread-count": r.hers,
		"/templates": writer, "/templates/welcome": writer, "/openapi.json": nil,
	} {
		a := r.get(path, header...).want(http.StatusOK)
		tag, cc := a.header.Get("ETag"), a.header.Get("Cache-Control")
		public := path == "/openapi.json"
		if len(tag) < 10 || public != strings.HasPrefix(cc, "public") || !public && cc != "private, no-cache" {
			t.Errorf("%s has the ETag %s and Cache-Control %q", path, tag, cc)
		}
		if vary := a.header.Get("Vary"); !public && vary != "Authorization, X-API-Key" {
			t.Errorf("%s varies by %q", path, vary)
		}
		for _, match := range []string{tag, `"x", W/` + tag, "*"} {
			same := r.get(path, append([]string{"If-None-Match", match}, header...)...)
			if same.status != http.StatusNotModified || same.text != "" || same.header.Get("ETag") != tag || same.header.Get("Cache-Control") != cc {
				t.Errorf("%s with %s is %d %v: %s", path, match, same.status, same.header, same.text)
			}
		}
		r.get(path, append([]string{"If-None-Match", `"other"`}, header...)...).want(http.StatusOK)
	}
	before := r.get("/api/notifications/ann", r.hers...).header.Get("ETag")
	r.post(`{"receiverId":"ann","message":"2"}`)
	r.get("/api/notifications/ann", append([]string{"If-None-Match", before}, r.hers...)...).want(http.StatusOK)

	// Errors, and what names recipients or holds bodies, are nobody's to keep.
	for path, header := range map[string][]string{
		"/api/notifications/bob": r.hers, "/templates/none": writer, "/jobs": {"X-API-Key", "reader-secret-0000"},
		"/recipients/ann@example.com/timeline": {"X-API-Key", "writer-secret-0000"},
	} {
		if a := r.get(path, header...); a.header.Get("Cache-Control") != "no-store" || a.header.Get("ETag") != "" {
			t.Errorf("%s (%d) has Cache-Control %q", path, a.status, a.header.Get("Cache-Control"))
		}
	}
}

// Without Redis inboxes are right, and nothing is an error.
func TestInboxWithoutRedis(t *testing.T) {
	r := &inboxRig{service: serve(t, withKeys(t), withTokens(t), func(o *Options) {
		rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", DialerRetries: 1})
		t.Cleanup(func() { _ = rdb.Close() })
		kept := cache.NewStore(cache.StoreOptions{Redis: rdb, Log: testkit.Logger(t)})
		kept.Start()
		t.Cleanup(kept.Stop)
		push, err := inbox.NewPusher(inbox.Nobody{}, kept, o.Log, prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		o.Cache, o.Inbox = kept, inbox.NewService(inboxtest.NewMemory(time.Now), push)
	}), t: t, key: []string{"X-API-Key", "nobody-secret-0000"}, hers: []string{"Authorization", "Bearer " + tokenOf(t, "ann", nil)}}
	for i := range 5 {
		r.post(`{"receiverId":"ann","message":"x"}`)
		from, a := r.from("ann", r.hers)
		if from != "miss" || a.json["unread"] != float64(i+1) {
			t.Errorf("a %s: %s", from, a.text)
		}
	}
}
