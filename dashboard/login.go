package dashboard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/limit"
)

// How often passwords may be tried, over all processes. A browser that the user
// has logged in with before has a budget of its own, so that strangers who spend
// the others keep nobody out of an account who was in it lately.
var (
	attemptsAddr    = limit.Rate{N: 30, Per: time.Minute} // from one address
	attemptsName    = limit.Rate{N: 5, Per: time.Minute}  // from one address for one name
	attemptsAccount = limit.Rate{N: 60, Per: time.Hour}   // for one name, from all addresses
	attemptsBrowser = limit.Rate{N: 5, Per: time.Minute}  // by a browser that is known, for its user
)

// maxLogin bounds the login form, in bytes.
const maxLogin = 4 << 10

type loginView struct {
	Next, Name, Problem string
}

func (d *Dashboard) loginPage(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.URL.Query().Get("next"))
	if _, ok := d.session(r); ok {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	d.render(w, r, http.StatusOK, "login.html", "Log in", loginView{Next: next})
}

func (d *Dashboard) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxLogin)
	if err := r.ParseForm(); err != nil {
		d.render(w, r, http.StatusBadRequest, "login.html", "Log in", loginView{Next: root, Problem: "The form could not be read."})
		return
	}
	view := loginView{Next: localPath(r.PostForm.Get("next")), Name: r.PostForm.Get("name")}
	wait, err := d.attempt(r.Context(), limit.ClientAddr(r), view.Name, d.knownBrowser(r, view.Name))
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	if wait > 0 {
		seconds := strconv.Itoa(int(math.Ceil(wait.Seconds())))
		w.Header().Set("Retry-After", seconds)
		view.Problem = "Too many attempts. Try again in " + seconds + " seconds."
		d.render(w, r, http.StatusTooManyRequests, "login.html", "Log in", view)
		return
	}
	user, ok, err := d.check(r.Context(), view.Name, r.PostForm.Get("password"))
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	if !ok {
		d.Audit.FailedLogin(limit.ClientAddr(r))
		d.log.Warn("a login failed", "addr", limit.ClientAddr(r)) // not the name: people type passwords there
		view.Problem = "Name or password is wrong."
		d.render(w, r, http.StatusUnauthorized, "login.html", "Log in", view)
		return
	}
	doing := d.act(w, r, audit.Login, "")
	doing.Actor = actor(user)
	if err := d.Audit.Do(r.Context(), doing, func(context.Context) error { return nil }); err != nil {
		d.refuse(w, r, err)
		return
	}
	d.log.Info("a user logged in", "user", user.Name, "addr", limit.ClientAddr(r))
	now := d.Clock()
	token := user.Session(now)
	if err := d.sessions.begin(r.Context(), token); err != nil {
		d.log.Warn("a login is good in this process alone, and until Redis answers", "err", err)
	}
	d.setCookie(w, r, sessionCookie, token, now.Add(auth.SessionLife))
	d.setCookie(w, r, browserCookie, user.Browser(now), now.Add(auth.BrowserLife))
	http.Redirect(w, r, view.Next, http.StatusSeeOther)
}

// knownBrowser is the token by which the browser is known as one that the user of
// that name has logged in with; "" for a stranger's.
func (d *Dashboard) knownBrowser(r *http.Request, name string) string {
	token := d.cookie(r, browserCookie)
	if user, ok := d.Users.Browser(token, d.Clock()); !ok || user.Name != name {
		return ""
	}
	return token
}

// attempt takes one from the budgets of login attempts; a wait above zero says
// that there was none left. browser is what knownBrowser says.
func (d *Dashboard) attempt(ctx context.Context, addr, name, browser string) (wait time.Duration, err error) {
	type budget struct {
		key  string
		rate limit.Rate
	}
	hash := sha256.Sum256([]byte(name)) // names are whatever is typed
	account := hex.EncodeToString(hash[:8])
	budgets := []budget{
		{"login:" + addr, attemptsAddr}, {"login:" + addr + ":" + account, attemptsName}, {"login:account:" + account, attemptsAccount},
	}
	if browser != "" {
		budgets = []budget{{"login:browser:" + auth.Fingerprint(browser), attemptsBrowser}}
	}
	for _, b := range budgets {
		decision, err := d.Limiter.Allow(ctx, b.key, b.rate, 1)
		if err != nil {
			return 0, fmt.Errorf("checking the rate of login attempts: %w", err)
		}
		if !decision.Allowed {
			return max(decision.RetryAfter, time.Second), nil
		}
	}
	return 0, nil
}

// check checks a password. bcrypt is made to be slow, so only a few are
// checked at a time: logins must not take the processor from everything else,
// least of all while Redis, which counts attempts, is away.
func (d *Dashboard) check(ctx context.Context, name, password string) (auth.User, bool, error) {
	select {
	case d.hashing <- struct{}{}:
		defer func() { <-d.hashing }()
	case <-ctx.Done():
		return auth.User{}, false, fmt.Errorf("waiting to check a password: %w", context.Cause(ctx))
	}
	user, ok := d.Users.Login(name, password)
	return user, ok, nil
}

// logout ends the session everywhere: a copy of its token is good nowhere.
func (d *Dashboard) logout(w http.ResponseWriter, r *http.Request) {
	token := d.cookie(r, sessionCookie)
	if _, ours := d.Users.Session(token, d.Clock()); ours {
		ended := auth.Fingerprint(token)
		if err := d.sessions.end(r.Context(), ended); err != nil {
			d.log.Warn("Redis could not be told of a logout; a copy of the session's token is good until it becomes idle", "err", err)
		}
		d.EndSession(ended)
		if err := d.LoggedOut(r.Context(), ended); err != nil {
			d.log.Warn("other processes could not be told of a logout; who watches there does so until the session would have ended", "err", err)
		}
	}
	d.setCookie(w, r, sessionCookie, "", time.Unix(1, 0))
	http.Redirect(w, r, root+"/login", http.StatusSeeOther)
}

// localPath is a path to go on to if it is one of ours, else the overview's.
// It must be written as a browser would send it: http.Redirect resolves dots,
// and browsers take a backslash for a slash, so that what only begins like one
// of ours can lead to //elsewhere.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || strings.Contains(u.Path, "\\") || path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/") {
		return root
	}
	if u.Path == root || strings.HasPrefix(u.Path, root+"/") && u.Path != root+"/login" {
		return next
	}
	return root
}
