package auth_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/fetch"
)

var roomKey = []byte("a key of twenty-four bytes and a few more")

// asked makes Rooms that ask a server of the test's.
func asked(t *testing.T, answer http.HandlerFunc) (*auth.Rooms, *prometheus.Registry) {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	c := auth.RoomsConfig{URL: server.URL, Secret: "whsec_" + base64.StdEncoding.EncodeToString(roomKey)}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewPedanticRegistry()
	client, err := fetch.New(fetch.Config{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := auth.NewRooms(c, client.Post, reg)
	if err != nil {
		t.Fatal(err)
	}
	return r, reg
}

var ann = auth.Identity{ID: "ann", Rooms: []string{"red"}}

func TestRoomQuestion(t *testing.T) {
	t.Parallel()
	var questions atomic.Int32
	r, reg := asked(t, func(w http.ResponseWriter, req *http.Request) {
		questions.Add(1)
		body, _ := io.ReadAll(req.Body)
		id, stamp := req.Header.Get("Webhook-Id"), req.Header.Get("Webhook-Timestamp")
		mac := hmac.New(sha256.New, roomKey)
		mac.Write([]byte(id + "." + stamp + "." + string(body)))
		if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); id == "" || req.Header.Get("Webhook-Signature") != want {
			t.Errorf("the signature is %q, not %q", req.Header.Get("Webhook-Signature"), want)
		}
		switch string(body) {
		case `{"user":"ann","room":"open"}`:
			_, _ = io.WriteString(w, `{"allow":true}`)
		case `{"user":"ann","room":"closed"}`:
			_, _ = io.WriteString(w, `{"allow":false}`)
		case `{"user":"ann","room":"forbidden"}`:
			w.WriteHeader(http.StatusForbidden)
		case `{"user":"ann","room":"unknown"}`:
			w.WriteHeader(http.StatusNotFound)
		case `{"user":"ann","room":"elsewhere"}`:
			http.Redirect(w, req, "/", http.StatusFound)
		case `{"user":"ann","room":"silent"}`: // a 200 that says nothing is no yes
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	for room, want := range map[string]struct{ yes, fails bool }{
		"red": {true, false}, "open": {true, false}, "closed": {false, false}, "forbidden": {false, false}, "unknown": {false, false},
		"broken": {false, true}, "elsewhere": {false, true}, "silent": {false, true},
	} {
		if yes, err := r.MayEnter(t.Context(), ann, room); yes != want.yes || (err != nil) != want.fails {
			t.Errorf("%s: %v, %v", room, yes, err)
		}
	}
	before := questions.Load() // of all but the token's
	if before != 7 {
		t.Errorf("%d questions were asked", before)
	}
	for _, room := range []string{"open", "closed"} {
		if yes, err := r.MayEnter(t.Context(), ann, room); err != nil || yes != (room == "open") {
			t.Errorf("%s again: %v, %v", room, yes, err)
		}
	}
	if questions.Load() != before {
		t.Error("an answer is not remembered")
	}
	if _, err := r.MayEnter(t.Context(), ann, "broken"); err == nil || questions.Load() != before+1 {
		t.Error("that nobody could tell is remembered")
	}
	if families, err := reg.Gather(); err != nil || len(families) != 1 || len(families[0].GetMetric()) != 3 {
		t.Errorf("the metrics are %v, %v", families, err)
	}
}

// Many who ask the same at once make one question, which does not end with who
// asked it first; a server that does not answer is not waited for long.
func TestRoomQuestionsAtOnce(t *testing.T) {
	t.Parallel()
	var questions atomic.Int32
	begun, free := make(chan struct{}), make(chan struct{})
	r, _ := asked(t, func(w http.ResponseWriter, _ *http.Request) {
		if questions.Add(1) == 1 {
			close(begun)
		}
		<-free
		_, _ = io.WriteString(w, `{"allow":true}`)
	})
	first, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	ask := func(ctx context.Context) {
		if yes, err := r.MayEnter(ctx, ann, "open"); !yes || err != nil {
			t.Errorf("%v, %v", yes, err)
		}
	}
	all.Go(func() { ask(first) })
	<-begun
	leave()
	for range 50 {
		all.Go(func() { ask(t.Context()) })
	}
	close(free)
	all.Wait()
	if n := questions.Load(); n != 1 {
		t.Errorf("%d questions were asked", n)
	}
}

func TestRoomQuestionIsBounded(t *testing.T) {
	t.Parallel()
	free := make(chan struct{})
	r, _ := asked(t, func(http.ResponseWriter, *http.Request) { <-free })
	defer close(free)
	if yes, err := r.MayEnter(t.Context(), ann, "slow"); yes || err == nil || !strings.Contains(err.Error(), "in time") {
		t.Errorf("%v, %v", yes, err)
	}
}

func TestRoomsWithoutAnybodyToAsk(t *testing.T) {
	t.Parallel()
	r, err := auth.NewRooms(auth.RoomsConfig{}, nil, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	for room, want := range map[string]bool{"red": true, "open": false} {
		if yes, err := r.MayEnter(t.Context(), ann, room); yes != want || err != nil {
			t.Errorf("%s: %v, %v", room, yes, err)
		}
	}
}

func TestRoomsConfig(t *testing.T) {
	t.Parallel()
	good := "whsec_" + base64.StdEncoding.EncodeToString(roomKey)
	for name, c := range map[string]struct {
		config auth.RoomsConfig
		want   string
	}{
		"none":         {auth.RoomsConfig{}, ""},
		"secret alone": {auth.RoomsConfig{Secret: good}, ""},
		"loopback":     {auth.RoomsConfig{URL: "http://127.0.0.1:3000/rooms", Secret: good}, ""},
		"plain":        {auth.RoomsConfig{URL: "http://shop.example.com/rooms", Secret: good}, "https"},
		"unsigned":     {auth.RoomsConfig{URL: "https://shop.example.com/rooms"}, "SECRET"},
		"no prefix":    {auth.RoomsConfig{Secret: good[6:]}, "whsec_"},
		"no base64":    {auth.RoomsConfig{Secret: "whsec_!"}, "whsec_"},
		"short":        {auth.RoomsConfig{Secret: "whsec_" + base64.StdEncoding.EncodeToString(roomKey[:23])}, "24"},
		"long":         {auth.RoomsConfig{Secret: "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 65))}, "64"},
	} {
		err := c.config.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
