package app

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

const nginxConf = "../../deploy/nginx/nginx.conf"

// note posts a notification, which is in the inbox when this returns.
func note(t *testing.T, addr, body string) {
	t.Helper()
	res, err := http.Post("http://"+addr+"/api/notifications", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusCreated {
		t.Fatalf("POST /api/notifications: %s %s", res.Status, text)
	}
}

// Clients of all transports live behind the nginx of deploy/, and miss nothing
// when the process that has them is killed: the other takes them.
func TestNginx(t *testing.T) {
	redis := testkit.Redis(t)
	environ := []string{
		"DATABASE_URL=" + testkit.Postgres(t), "REDIS_URL=redis://" + redis.Addr + "/0",
		"POSTRIDER_JWT_SECRET=" + liveSecret, "POSTRIDER_TRUSTED_PROXIES=127.0.0.1",
	}
	path := testkit.Build(t, module+"api")
	apis := make([]*testkit.Service, 2)
	for i := range apis {
		apis[i] = testkit.NewService(t, environ, path)
		apis[i].Start()
		apis[i].AwaitReady()
	}
	front := testkit.Nginx(t, nginxConf, apis[0].Addr, apis[1].Addr)

	users := map[string]*liveClient{
		"poll":    connectLive(t, front, "poll", "polling"),
		"direct":  connectLive(t, front, "direct", "websocket"),
		"upgrade": connectLive(t, front, "upgrade", "polling", "websocket"),
	}
	users["poll"].want("connect", "polling")
	users["direct"].want("connect", "websocket")
	users["upgrade"].want("upgrade", "websocket")
	for user, c := range users {
		note(t, front, `{"receiverId":"`+user+`","message":"first"}`)
		c.want("notification", `"seq":1`)
	}
	wantEvents(t, front)
	for path, want := range map[string]int{"/metrics": http.StatusNotFound, "/readyz": http.StatusOK, "/admin/": http.StatusOK} {
		res, err := http.Get("http://" + front + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("GET %s: %s", path, res.Status)
		}
	}

	killed := 0 // all come from one address, and so have one process
	if metric(t, apis[0].Addr, "postrider_live_sessions") == "0" {
		killed = 1
	}
	apis[killed].Kill()
	for user := range users {
		note(t, front, `{"receiverId":"`+user+`","message":"second"}`)
	}
	for user, c := range users {
		c.want("disconnect", "")
		c.want("joined", `"ok":true`)
		c.want("notification", `"stream":"user:`+user+`","seq":2`)
	}
}

// wantEvents sees an event of the stream as it comes.
func wantEvents(t *testing.T, addr string) {
	t.Helper()
	client := http.Client{Timeout: time.Minute}
	res, err := client.Get("http://" + addr + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	id := post(t, addr, "/jobs/send-email", email("user@example.com", "Welcome!")).ID
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if strings.Contains(lines.Text(), id) {
			return
		}
	}
	t.Error("the stream ended without the event")
}
