package auth_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/internal/auth"
)

const password = "correct horse"

// passwordHash has the least cost that is taken, and is made once: bcrypt takes
// a second under the race detector.
var passwordHash = sync.OnceValue(func() string {
	h, err := bcrypt.GenerateFromPassword([]byte(password), 10)
	if err != nil {
		panic(err)
	}
	return string(h)
})

func parseUsers(t testing.TB, text string) auth.Users {
	t.Helper()
	var users auth.Users
	if err := users.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return users
}

func TestUsersLogIn(t *testing.T) {
	users := parseUsers(t, "ann:"+passwordHash()+":admin,\n bob:"+passwordHash()+":viewer,\n")
	if !users[0].Admin() || users[1].Admin() {
		t.Errorf("the roles are %s and %s", users[0].Role, users[1].Role)
	}
	for _, c := range []struct {
		name, password string
		ok             bool
	}{
		{"bob", password, true},
		{"bob", password + "x", false},
		{"eve", password, false}, // the first user's password does not serve for a name that is unknown
	} {
		user, ok := users.Login(c.name, c.password)
		if ok != c.ok || ok && user.Name != c.name {
			t.Errorf("%s with %q: %s %t, want %t", c.name, c.password, user.Name, ok, c.ok)
		}
	}
	if _, ok := (auth.Users)(nil).Login("ann", password); ok {
		t.Error("somebody logged in where there are no users")
	}
}

func TestUsersErrorsNameTheEntryAndNoHash(t *testing.T) {
	h := passwordHash()
	for name, c := range map[string]struct{ text, want string }{
		"empty":    {" ,", "holds no user"},
		"parts":    {"ann:" + h, "entry 1: want name:bcrypt-hash"},
		"name":     {"a n:" + h + ":admin", "entry 1: the name must be"},
		"role":     {"ann:" + h + ":root", "entry 1 (ann): the role"},
		"no hash":  {"ann:" + password + ":admin", "entry 1 (ann): the second part is no bcrypt hash"},
		"expanded": {"ann:" + strings.ReplaceAll(h, "$2a$10", "") + ":admin", "no bcrypt hash"},
		"cheap":    {"ann:" + strings.Replace(h, "$10$", "$04$", 1) + ":admin", "entry 1 (ann): the hash has the cost 4"},
		"dear":     {"ann:" + strings.Replace(h, "$10$", "$20$", 1) + ":admin", "entry 1 (ann): the hash has the cost 20"},
		"twice":    {"ann:" + h + ":admin,ann:" + h + ":viewer", "entry 2 (ann): an entry before it"},
	} {
		t.Run(name, func(t *testing.T) {
			var users auth.Users
			err := users.UnmarshalText([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), h[10:]) || strings.Contains(err.Error(), password) {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
}

func TestSession(t *testing.T) {
	annHash := passwordHash()
	const bobHash = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy" // of another password
	text := "ann:" + annHash + ":admin,bob:" + bobHash + ":viewer"
	users := parseUsers(t, text)
	ann, bob := users[0], users[1]
	now := time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
	token := ann.Session(now)

	annClaim, _, _ := strings.Cut(token, ".")
	_, bobMAC, _ := strings.Cut(bob.Session(now), ".")
	later := func(d time.Duration) time.Time { return now.Add(d) }
	for name, c := range map[string]struct {
		users auth.Users
		token string
		at    time.Time
		ok    bool
	}{
		"fresh":               {users, token, now, true},
		"another process":     {parseUsers(t, text), token, now, true},
		"nearly over":         {users, token, later(auth.SessionLife - time.Second), true},
		"over":                {users, token, later(auth.SessionLife), false},
		"changed password":    {parseUsers(t, "ann:"+bobHash+":admin"), token, now, false},
		"changed role":        {parseUsers(t, "ann:"+annHash+":viewer"), token, now, false},
		"user gone":           {parseUsers(t, "bob:"+bobHash+":viewer"), token, now, false},
		"another's password":  {parseUsers(t, "bob:"+annHash+":viewer,ann:"+annHash+":admin"), token, now, true},
		"another's signature": {users, annClaim + "." + bobMAC, now, false},
		"no signature":        {users, annClaim + ".", now, false},
		"cut":                 {users, token[:len(token)-2], now, false},
		"changed":             {users, "x" + token, now, false},
		"empty":               {users, "", now, false},
		"no users":            {nil, token, now, false},
		"a browser's":         {users, ann.Browser(now), now, false},
	} {
		t.Run(name, func(t *testing.T) {
			user, ok := c.users.Session(c.token, c.at)
			if ok != c.ok || ok && user.Name != "ann" {
				t.Errorf("the session is %s's: %t, want %t", user.Name, ok, c.ok)
			}
		})
	}
}

// A browser is known by what opens no session, until it is too old.
func TestBrowser(t *testing.T) {
	users := parseUsers(t, "ann:"+passwordHash()+":admin")
	now := time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
	token := users[0].Browser(now)
	if user, ok := users.Browser(token, now.Add(auth.BrowserLife-time.Second)); !ok || user.Name != "ann" {
		t.Errorf("the browser is %q's: %t", user.Name, ok)
	}
	if _, ok := users.Browser(token, now.Add(auth.BrowserLife)); ok {
		t.Error("it is known for ever")
	}
	if _, ok := users.Browser(users[0].Session(now), now); ok {
		t.Error("a session's token is taken for a browser's")
	}
	if one, other := users[0].Session(now), users[0].Session(now); one == other {
		t.Error("two sessions have one token: to end one would end the other")
	}
}
