package dashboard

import (
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/postrider/postrider/internal/apikey"
	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/internal/testkit/browser"
)

// withKeyring has keys in a database of their own, beside those of the settings.
func withKeyring(t testing.TB, settings string) func(*Options) {
	return func(o *Options) {
		s, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "keys.db"), AutoMigrate: true}, testkit.Logger(t), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		var set auth.APIKeys
		if settings != "" {
			if err := set.UnmarshalText([]byte(settings)); err != nil {
				t.Fatal(err)
			}
		}
		o.Keys = auth.NewKeys(auth.Config{APIKeys: set})
		made := apikey.New(s.APIKeys(), o.Keys, o.Log)
		o.Keys.Also(made)
		o.MadeKeys, o.Audit = made, audit.New(s.Audit(), o.Log)
		if err := o.Quotas.UnmarshalText([]byte("boss=100/h,*=5000/d")); err != nil {
			t.Fatal(err)
		}
	}
}

const bossKey = "boss:boss-secret-000000:admin"

var shownSecret = regexp.MustCompile(`value="(pr_[A-Za-z0-9_-]{48})"`)

func TestKeysPage(t *testing.T) {
	r := newRig(t, withKeyring(t, bossKey))
	ann, bob := r.as("ann"), r.as("bob")
	ann.get(keyRoot).want(t, http.StatusOK, "boss", "POSTRIDER_API_KEYS", "100 an hour", "New key").lacks(t, "boss-secret", "/admin/keys/boss/revoke")
	form := url.Values{"name": {"shop"}, "scope": {"jobs:write", "jobs:read"}, "expires": {"2100-01-01T00:00"}}
	page := ann.post(keyRoot, form).want(t, http.StatusCreated, "shown this once", "dashboard:ann", "2100-01-01 00:00:00", "5000 a day", "/admin/keys/shop/revoke")
	secret := shownSecret.FindStringSubmatch(page.body)
	if secret == nil || page.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("the page shows no secret, or may be kept: %s", page.body)
	}
	if who, err := r.Keys.Principal(t.Context(), secret[1]); err != nil || who.Name != "shop" || !who.May(auth.JobsRead) || who.May(auth.Admin) {
		t.Errorf("the secret is of %+v: %v", who, err)
	}
	// Asked for again, the page shows no secret any more.
	ann.post(keyRoot, form).want(t, http.StatusConflict, "there is a key &#34;shop&#34; already", `value="shop"`).lacks(t, "pr_AAA", secret[1])
	ann.get(keyRoot).want(t, http.StatusOK, secret[1][:8]).lacks(t, secret[1])
	for field, c := range map[string]struct {
		value, id, words string
	}{
		"name":    {"a b", "why-name", "The name must be 1 to 64"},
		"scope":   {"root", "why-scopes", "The scopes must be of"},
		"expires": {"2020-01-01T00:00", "why-expires", "must be in the future"},
	} {
		bad := url.Values{"name": {"other"}, "scope": {"jobs:read"}}
		bad.Set(field, c.value)
		ann.post(keyRoot, bad).want(t, http.StatusUnprocessableEntity, `id="`+c.id+`"`, c.words, "<details open>")
	}
	ann.post(keyRoot, url.Values{"name": {"other"}, "scope": {"jobs:read"}, "expires": {"soon"}}).want(t, http.StatusUnprocessableEntity, "must be a time such as")
	ann.post(keyRoot, url.Values{"name": {"other"}}).want(t, http.StatusUnprocessableEntity, "must not be empty")

	// A viewer looks; who acts is asked who they are.
	bob.get(keyRoot).want(t, http.StatusOK, "shop", "jobs:write").lacks(t, "New key", "Revoke", secret[1])
	for _, path := range []string{keyRoot, keyRoot + "/shop/revoke"} {
		bob.post(path, form).want(t, http.StatusForbidden)
		r.anonymous().post(path, form).want(t, http.StatusUnauthorized)
		ann.post(path, form, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }).want(t, http.StatusForbidden)
	}
	ann.post(keyRoot+"/boss/revoke", nil).want(t, http.StatusConflict, "goes with it")
	ann.post(keyRoot+"/shop/revoke", nil).wantTo(t, keyRoot+"?revoked=shop")
	ann.get(keyRoot+"?revoked=shop").want(t, http.StatusOK, "The key shop is revoked").lacks(t, secret[1][:8])
	if _, err := r.Keys.Principal(t.Context(), secret[1]); err == nil {
		t.Error("it is let in")
	}
	ann.post(keyRoot+"/shop/revoke", nil).want(t, http.StatusNotFound)
	ann.get(auditRoot).want(t, http.StatusOK, "key.create", "key.revoke", "dashboard:ann", "jobs:write jobs:read").lacks(t, secret[1])
	if lines := r.log.String(); strings.Contains(lines, secret[1]) || !strings.Contains(lines, "a user created an API key") {
		t.Errorf("the log says %s", lines)
	}
}

func TestKeysOfAnOpenAPI(t *testing.T) {
	r := newRig(t, withKeyring(t, ""))
	ann := r.as("ann")
	ann.get(keyRoot).want(t, http.StatusOK, "The API is open", "None.").lacks(t, "New key")
	ann.post(keyRoot, url.Values{"name": {"first"}, "scope": {"admin"}}).want(t, http.StatusConflict, "set POSTRIDER_API_KEYS").lacks(t, "pr_")
}

// TestKeysInBrowser makes a key by the keyboard, and revokes it.
func TestKeysInBrowser(t *testing.T) {
	r := newRig(t, withKeyring(t, bossKey+",a-rather-long-name-of-a-service-that-sends-now-and-then.example:other-secret-0000000:jobs:write+jobs:read+schedules:write"))
	b := openTab(t)
	b.enter(r, "ann")
	b.Do(
		chromedp.Navigate(r.url+root),
		chromedp.Click(chromedp.CSS(`nav a[href="/admin/keys"]`)),
		chromedp.WaitVisible(chromedp.CSS(`table.list`)),
	)
	b.shots("keys")
	b.Do(
		chromedp.Focus(chromedp.CSS(`.tools summary`)),
		chromedp.KeyEvent(" "),
		chromedp.WaitVisible(chromedp.CSS(`input[name=name]`)),
		chromedp.SendKeys(chromedp.CSS(`input[name=name]`), "shop"),
		chromedp.Focus(chromedp.CSS(`input[value="jobs:write"]`)),
		chromedp.KeyEvent(" "),
	)
	b.shots("keys-new")
	b.Do(
		chromedp.SendKeys(chromedp.CSS(`input[name=name]`), "\r"),
		chromedp.WaitVisible(chromedp.CSS(`.secret input`)),
	)
	b.shots("keys-made")
	secret := browser.Ask(b.Tab, chromedp.Evaluate[string](`document.querySelector(".secret input").value`))
	if who, err := r.Keys.Principal(t.Context(), secret); err != nil || who.Name != "shop" {
		t.Errorf("the secret is of %+v: %v", who, err)
	}
	if nameless := browser.Ask(b.Tab, chromedp.Evaluate[string](nameless)); nameless != "" {
		t.Errorf("without a name are %s", nameless)
	}
	b.Do(
		chromedp.Focus(chromedp.CSS(`summary[aria-label="Revoke shop…"]`)),
		chromedp.KeyEvent(" "),
		chromedp.Click(chromedp.CSS(`button[aria-label="Revoke shop for good"]`)),
		chromedp.WaitVisible(`//p[@role="status"][contains(text(), "The key shop is revoked")]`),
	)
	if _, err := r.Keys.Principal(t.Context(), secret); err == nil {
		t.Error("it is let in")
	}
}
