package app

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/testkit"
)

// ask sends a GET with headers, Host among them, and returns the status and the
// body's token, if it has one.
func ask(t *testing.T, a *App, path string, headers ...string) (status int, token string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.Addr()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	req.Host = req.Header.Get("Host")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var body struct{ Token string }
	_ = json.NewDecoder(res.Body).Decode(&body) // not every answer is an object
	return res.StatusCode, body.Token
}

// In make run whoever is at this machine gets a token, which is good after a
// restart, too; pages of elsewhere get none.
func TestDevToken(t *testing.T) {
	data := t.TempDir()
	a := boot(t, Dev, "POSTRIDER_DATA_DIR="+data, "POSTRIDER_CORS_ORIGINS=http://localhost:5173,*")
	const path = "/dev/token?user=ann&room=lobby&room=red&scope=notify"
	status, token := ask(t, a, path)
	if status != http.StatusOK || token == "" {
		t.Fatalf("it is answered %d", status)
	}
	if who, err := a.tokens.Verify(t.Context(), token); err != nil || !slices.Equal(who.Scopes, []string{"notify"}) {
		t.Errorf("the token is %+v's, %v", who, err)
	}
	inbox := func(a *App, user string) int {
		status, _ := ask(t, a, "/api/notifications/"+user+"?room=lobby&room=red", "Authorization", "Bearer "+token)
		return status
	}
	if inbox(a, "ann") != http.StatusOK || inbox(a, "bob") != http.StatusForbidden {
		t.Errorf("the token opens ann's inbox %d, bob's %d", inbox(a, "ann"), inbox(a, "bob"))
	}
	for name, c := range map[string]struct {
		want    int
		headers []string
	}{
		"own page":      {http.StatusOK, []string{"Origin", "http://" + a.Addr()}},
		"named by CORS": {http.StatusOK, []string{"Origin", "http://localhost:5173"}},
		"elsewhere":     {http.StatusForbidden, []string{"Origin", "https://evil.example"}},
		"sandboxed":     {http.StatusForbidden, []string{"Origin", "null"}},
		"rebound name":  {http.StatusForbidden, []string{"Host", "evil.example", "Origin", "http://evil.example"}},
	} {
		if status, token := ask(t, a, path, c.headers...); status != c.want || token != "" != (c.want == http.StatusOK) {
			t.Errorf("%s: %d", name, status)
		}
	}
	if status, _ := ask(t, a, "/dev/token"); status != http.StatusUnprocessableEntity {
		t.Errorf("for nobody: %d", status)
	}
	info, err := os.Stat(filepath.Join(data, devSecretFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secret: %v, %v", info, err)
	}
	if err := a.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status := inbox(boot(t, Dev, "POSTRIDER_DATA_DIR="+data), "ann"); status != http.StatusOK {
		t.Errorf("after a restart the token is answered %d", status)
	}
}

// Wherever anything else says who users are, or the API is not open, there is no
// such route.
func TestDevTokenIsForDevelopmentOnly(t *testing.T) {
	env := []string{"POSTRIDER_DATA_DIR=" + t.TempDir()}
	for name, a := range map[string]*App{
		"secret": boot(t, Dev, append(env, "POSTRIDER_JWT_SECRET="+liveSecret)...),
		"keys":   boot(t, Dev, "POSTRIDER_DATA_DIR="+t.TempDir(), "POSTRIDER_API_KEYS=shop:0123456789abcdef:admin"),
		"serve": boot(t, Serve, "POSTRIDER_DATA_DIR="+t.TempDir(),
			"REDIS_URL=redis://"+testkit.Redis(t).Addr+"/0", "SMTP_URL="+testkit.NewSMTP(t).URL(), "MAIL_FROM=a@example.com"),
	} {
		if status, token := ask(t, a, "/dev/token?user=ann"); status != http.StatusNotFound || token != "" {
			t.Errorf("%s: %d", name, status)
		}
	}
}

func TestBrokenDevSecret(t *testing.T) {
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, devSecretFile), []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := devSecret(data); err == nil || !strings.Contains(err.Error(), "delete it") {
		t.Errorf("it is taken: %v", err)
	}
}
