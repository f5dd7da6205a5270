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

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/limit"
)

// How often passwords may be tried, over all processes.
var (
	attemptsAddr = limit.Rate{N: 30, Per: time.Minute} // from one address
	attemptsName = limit.Rate{N: 5, Per: time.Minute}  // from one address for one name
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
	wait, err := d.attempt(r.Context(), limit.ClientAddr(r), view.Name)
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
		d.log.Warn("a login failed", "addr", limit.ClientAddr(r)) // not the name: people type passwords there
		view.Problem = "Name or password is wrong."
		d.render(w, r, http.StatusUnauthorized, "login.html", "Log in", view)
		return
	}
	d.log.Info("a user logged in", "user", user.Name, "addr", limit.ClientAddr(r))
	now := d.Clock()
	d.setCookie(w, r, user.Session(now), now.Add(auth.SessionLife))
	http.Redirect(w, r, view.Next, http.StatusSeeOther)
}

// attempt takes one from the budgets of login attempts; a wait above zero says
// that there was none left.
func (d *Dashboard) attempt(ctx context.Context, addr, name string) (wait time.Duration, err error) {
	hash := sha256.Sum256([]byte(name)) // names are whatever is typed
	for _, b := range []struct {
		key  string
		rate limit.Rate
	}{
		{"login:" + addr, attemptsAddr},
		{"login:" + addr + ":" + hex.EncodeToString(hash[:8]), attemptsName},
	} {
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

func (d *Dashboard) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(sessionCookie); err == nil && !d.isOpen() {
		ended := auth.Fingerprint(c.Value)
		d.EndSession(ended)
		if err := d.LoggedOut(r.Context(), ended); err != nil {
			d.log.Warn("other processes could not be told of a logout; who watches there does so until the session would have ended", "err", err)
		}
	}
	d.setCookie(w, r, "", time.Unix(1, 0))
	http.Redirect(w, r, root+"/login", http.StatusSeeOther)
}

func (d *Dashboard) setCookie(w http.ResponseWriter, r *http.Request, value string, until time.Time) {
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: value, Path: root, Expires: until,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: d.byHTTPS(r),
	})
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
