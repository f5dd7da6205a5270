package chattest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/postrider/postrider/internal/chat"
)

// Said makes a message of a room.
func Said(room string, ms, seq int64, user, client, text string) chat.Message {
	return chat.Message{Room: room, ID: chat.ID{MS: ms, Seq: seq}, User: user, ClientID: client, Text: text}
}

// Conformance proves an Archive, which open makes, empty.
func Conformance(t *testing.T, open func(t *testing.T) chat.Archive) {
	t.Run("Keep", func(t *testing.T) { testKeep(t, open(t)) })
	t.Run("Page", func(t *testing.T) { testPage(t, open(t)) })
	t.Run("Bury", func(t *testing.T) { testBury(t, open(t)) })
	t.Run("BuryWhileKept", func(t *testing.T) { testBuryWhileKept(t, open(t)) })
	t.Run("Blank", func(t *testing.T) { testBlank(t, open(t)) })
}

func keep(t *testing.T, a chat.Archive, messages ...chat.Message) (doubles []chat.Message) {
	t.Helper()
	doubles, err := a.Keep(t.Context(), messages)
	if err != nil {
		t.Fatal(err)
	}
	return doubles
}

func page(t *testing.T, a chat.Archive, q chat.Query) (texts []string) {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 100
	}
	found, err := a.Page(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range found {
		texts = append(texts, m.Text)
	}
	return texts
}

func testKeep(t *testing.T, a chat.Archive) {
	one, two := Said("red", 1000, 7, "ann", "c1", "one"), Said("red", 1000, 8, "bob", "c1", "two")
	one.Data = json.RawMessage(`{"a": [1,"\u0000"]}`)
	elsewhere, nameless := Said("blue", 1000, 7, "ann", "c1", "blue"), Said("red", 1001, 0, "ann", "", "x")
	if d := keep(t, a, one, two, elsewhere, nameless, Said("red", 1002, 0, "ann", "", "x")); d != nil {
		t.Errorf("doubles are %+v", d)
	}
	again := Said("red", 2000, 1, "ann", "c1", "one again")
	twice := []chat.Message{Said("red", 2000, 2, "cyd", "c9", "first"), Said("red", 2000, 3, "cyd", "c9", "second")}
	d := keep(t, a, append([]chat.Message{one, again, two, nameless}, twice...)...)
	if !reflect.DeepEqual(d, []chat.Message{again, twice[1]}) {
		t.Errorf("doubles are %+v", d)
	}
	if got := page(t, a, chat.Query{Room: "red"}); !slices.Equal(got, []string{"first", "x", "x", "two", "one"}) {
		t.Errorf("the room has %q", got)
	}
	for want, find := range map[string]func() (chat.Message, error){
		"by its id":        func() (chat.Message, error) { return a.Find(t.Context(), "red", one.ID) },
		"by its client id": func() (chat.Message, error) { return a.Sent(t.Context(), "red", "ann", "c1") },
	} {
		if got, err := find(); err != nil || !reflect.DeepEqual(got, one) {
			t.Errorf("%s it is %+v: %v", want, got, err)
		}
	}
	for what, find := range map[string]func() (chat.Message, error){
		"no id":          func() (chat.Message, error) { return a.Find(t.Context(), "red", chat.ID{MS: 1000, Seq: 9}) },
		"no client id":   func() (chat.Message, error) { return a.Sent(t.Context(), "red", "ann", "") },
		"another's":      func() (chat.Message, error) { return a.Sent(t.Context(), "red", "cyd", "c1") },
		"another room's": func() (chat.Message, error) { return a.Sent(t.Context(), "blue", "bob", "c1") },
	} {
		if got, err := find(); !errors.Is(err, chat.ErrNotFound) {
			t.Errorf("%s finds %+v: %v", what, got, err)
		}
	}
	newest, err := a.Newest(t.Context(), []string{"red", "blue", "none"})
	if want := map[string]chat.ID{"red": {MS: 2000, Seq: 2}, "blue": {MS: 1000, Seq: 7}}; err != nil || !reflect.DeepEqual(newest, want) {
		t.Errorf("the newest are %v: %v", newest, err)
	}
	var many []chat.Message
	for i := range int64(5000) {
		many = append(many, Said("many", 1+i/10, i%10, "ann", fmt.Sprint(i), fmt.Sprint("text ", i)))
	}
	if d := keep(t, a, many...); d != nil {
		t.Errorf("of many, %d are doubles", len(d))
	}
}

func testPage(t *testing.T, a chat.Archive) {
	keep(t, a, Said("red", 99, 5, "ann", "", "Hello, World"), Said("red", 100, 0, "ann", "", "HELLO Ünder"), Said("red", 100, 9, "ann", "", "a worldly hello"),
		Said("red", 100, 10, "ann", "", "4"), Said("red", 1000, 0, "ann", "", "世界你好"), Said("Red", 100, 3, "ann", "", "another room"))
	all := []string{"世界你好", "4", "a worldly hello", "HELLO Ünder", "Hello, World"}
	for _, c := range []struct {
		q    chat.Query
		want []string
	}{
		{chat.Query{}, all},
		{chat.Query{Limit: 2}, all[:2]},
		{chat.Query{Before: chat.ID{MS: 100, Seq: 10}}, all[2:]},
		{chat.Query{Before: chat.ID{MS: 100, Seq: 10}, Limit: 1}, all[2:3]},
		{chat.Query{After: chat.ID{MS: 100, Seq: 0}}, all[:3]},
		{chat.Query{After: chat.ID{MS: 100, Seq: 0}, Before: chat.ID{MS: 1000}}, all[1:3]},
		{chat.Query{Before: chat.ID{MS: 99, Seq: 5}}, nil},
		{chat.Query{Words: chat.Words("hello")}, all[2:]},
		{chat.Query{Words: chat.Words("WORLD hello")}, all[4:]},
		{chat.Query{Words: chat.Words("ünder")}, all[3:4]},
		{chat.Query{Words: chat.Words("界")}, all[:1]},
		{chat.Query{Words: chat.Words("hello"), Before: chat.ID{MS: 100, Seq: 9}, Limit: 1}, all[3:4]},
		{chat.Query{Words: chat.Words("hell")}, nil},
	} {
		c.q.Room = "red"
		if got := page(t, a, c.q); !slices.Equal(got, c.want) {
			t.Errorf("%+v finds %q, want %q", c.q, got, c.want)
		}
	}
}

func testBury(t *testing.T, a chat.Archive) {
	kept, new, double := Said("red", 100, 0, "ann", "c1", "secret one"), Said("red", 101, 0, "ann", "c2", "secret two"), Said("red", 102, 0, "ann", "c1", "secret three")
	keep(t, a, kept)
	for range 2 {
		for _, m := range []chat.Message{kept, new, double} {
			if err := a.Bury(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		// An archive that is under way brings nothing back.
		if d := keep(t, a, kept, new, double); d != nil {
			t.Errorf("doubles are %+v", d)
		}
	}
	if got := page(t, a, chat.Query{Room: "red"}); got != nil {
		t.Errorf("the room has %q", got)
	}
	if got := page(t, a, chat.Query{Room: "red", Words: chat.Words("secret")}); got != nil {
		t.Errorf("found is %q", got)
	}
	for _, m := range []chat.Message{kept, new} {
		m.Text, m.Deleted = "", true
		if got, err := a.Sent(t.Context(), "red", "ann", m.ClientID); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("what stays is %+v: %v", got, err)
		}
	}
}

// What is being archived and deleted at the same moment is deleted, whichever
// comes first.
func testBuryWhileKept(t *testing.T, a chat.Archive) {
	var all sync.WaitGroup
	for i := range int64(400) {
		m := Said("red", 1000+i, 0, "ann", strconv.FormatInt(i, 10), "gone")
		var both sync.WaitGroup
		both.Go(func() {
			if _, err := a.Keep(t.Context(), []chat.Message{m}); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			if err := a.Bury(t.Context(), m); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			both.Wait()
			if got, err := a.Find(t.Context(), "red", m.ID); err != nil || !got.Deleted || got.Text != "" {
				t.Errorf("it is %+v: %v", got, err)
			}
		})
	}
	all.Wait()
}

func testBlank(t *testing.T, a chat.Archive) {
	hers := []chat.Message{Said("red", 100, 0, "ann", "c1", "one"), Said("blue", 101, 0, "ann", "", "two"), Said("red", 103, 0, "ann", "c3", "")}
	his := Said("red", 102, 0, "bob", "c1", "three")
	keep(t, a, append(hers[:2:2], his)...)
	if err := a.Bury(t.Context(), hers[2]); err != nil {
		t.Fatal(err)
	}
	if some, err := a.WrittenBy(t.Context(), "ann", 2); err != nil || len(some) != 2 {
		t.Errorf("at most two are %+v: %v", some, err)
	}
	written, err := a.WrittenBy(t.Context(), "ann", 100)
	if err != nil || len(written) != 3 {
		t.Errorf("hers are %+v: %v", written, err)
	}
	for range 2 {
		if err := a.Blank(t.Context(), written); err != nil {
			t.Fatal(err)
		}
		keep(t, a, hers[:2]...)
	}
	if left, err := a.WrittenBy(t.Context(), "ann", 100); err != nil || len(left) != 0 {
		t.Errorf("left are %+v: %v", left, err)
	}
	if got, err := a.Find(t.Context(), "red", hers[0].ID); err != nil || !reflect.DeepEqual(got, chat.Message{Room: "red", ID: hers[0].ID, Deleted: true}) {
		t.Errorf("what stays is %+v: %v", got, err)
	}
	if got := page(t, a, chat.Query{Room: "red"}); !slices.Equal(got, []string{"three"}) {
		t.Errorf("the room has %q", got)
	}
	if none, err := a.WrittenBy(t.Context(), "", 100); err != nil || len(none) != 0 {
		t.Errorf("nobody's are %+v: %v", none, err)
	}
}
