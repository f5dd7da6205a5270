package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

const (
	senders  = 16
	patience = 30 * time.Second
)

// secret is of the API key that the clients use.
const secret = "a-secret-of-the-chaos-run"

// client speaks to the apis. One that cannot be reached does not keep it for
// long from the other.
var client = &http.Client{
	Timeout: 15 * time.Second,
	Transport: keyed{&http.Transport{
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		MaxIdleConnsPerHost: senders,
	}},
}

// keyed sends every request with the API key.
type keyed struct{ *http.Transport }

func (k keyed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+secret)
	return k.Transport.RoundTrip(r)
}

// wish is a job to ask for.
type wish struct {
	path, body string
	key        string // its Idempotency-Key
	kind       string
	want       string // the state that it must come to
}

// accepted is a wish that was answered with 202: the client's own record.
type accepted struct {
	wish
	id string
	at time.Time
}

// stream asks for jobs as a careful client does: each with an idempotency key,
// again at the other api until one has answered.
type stream struct {
	t     testing.TB
	apis  []string
	stop  context.CancelFunc // of new wishes
	abort context.CancelFunc // of those that have no answer yet
	wait  sync.WaitGroup

	mu         sync.Mutex
	accepted   []accepted
	unanswered int // given up: they may have made a job or not
	twice      int // a repeat under the same key was answered with another job
}

// startStream begins to ask for so many jobs a second.
func startStream(t testing.TB, apis []string, rate int) *stream {
	alive, abort := context.WithCancel(context.Background())
	making, stop := context.WithCancel(alive)
	s := &stream{t: t, apis: apis, stop: stop, abort: abort}
	wishes := make(chan wish, 100*senders)
	s.wait.Go(func() {
		defer close(wishes)
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for n := 1; ; n++ {
			select {
			case <-making.Done():
				return
			case <-tick.C:
			}
			select {
			case <-making.Done():
				return
			case wishes <- newWish(n):
			}
		}
	})
	for range senders {
		s.wait.Go(func() {
			for w := range wishes {
				s.ask(alive, w)
			}
		})
	}
	return s
}

// end stops asking; what was asked for already has that long to be answered.
func (s *stream) end(grace time.Duration) {
	s.stop()
	timer := time.AfterFunc(grace, s.abort)
	defer timer.Stop()
	s.wait.Wait()
	s.abort()
	client.CloseIdleConnections()
}

// ask repeats the wish until it has an answer.
func (s *stream) ask(ctx context.Context, w wish) {
	for try := rand.IntN(len(s.apis)); ; try++ {
		id, err := post(ctx, s.apis[try%len(s.apis)], w)
		switch {
		case err == nil:
			s.note(ctx, w, id)
			return
		case ctx.Err() != nil:
			s.mu.Lock()
			s.unanswered++
			s.mu.Unlock()
			return
		}
		if refused, ok := err.(refusal); ok {
			s.t.Errorf("a good request was refused: %s %s: %s", w.path, w.body, refused)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// note records an acceptance. Now and then it asks again, as a client whose
// answer was lost.
func (s *stream) note(ctx context.Context, w wish, id string) {
	s.mu.Lock()
	s.accepted = append(s.accepted, accepted{w, id, time.Now()})
	s.mu.Unlock()
	if rand.IntN(20) > 0 {
		return
	}
	again, err := post(ctx, s.apis[rand.IntN(len(s.apis))], w)
	if err == nil && again != id {
		s.mu.Lock()
		s.twice++
		s.mu.Unlock()
	}
}

func (s *stream) record() []accepted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted[:len(s.accepted):len(s.accepted)]
}

// refusal is an answer that asking again will not change.
type refusal string

func (r refusal) Error() string { return string(r) }

func post(ctx context.Context, api string, w wish) (id string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+api+w.path, bytes.NewReader([]byte(w.body)))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", w.key)
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return "", err
	case res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusRequestTimeout:
		return "", fmt.Errorf("%s", res.Status)
	case res.StatusCode != http.StatusAccepted:
		return "", refusal(res.Status + ": " + string(text))
	}
	var answer struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.ID == "" {
		return "", refusal(fmt.Sprintf("202 with %s, %v", text, err))
	}
	return answer.ID, nil
}

// newWish makes the n-th wish of a mixture: mails, half of all, some of them
// for later, some to recipients that the server refuses at first or for good;
// notifications; and jobs that take their time, so that each kill meets some.
func newWish(n int) wish {
	w := wish{kind: "mail", path: "/jobs/send-email", key: fmt.Sprintf("wish-%d", n), want: "done"}
	mail := func(user, more string) string {
		return fmt.Sprintf(`{"email":"%s-%d@host%d.example","subject":"Wish %d","message":"As you wished."%s}`, user, n, n%97, n, more)
	}
	switch n % 20 {
	case 0:
		w.kind, w.want, w.body = "bad mail", "failed", mail(gone, "")
	case 1:
		w.kind, w.body = "mail at the second try", mail(late, "")
	case 2, 3:
		w.kind, w.path = "mail for later", "/jobs/schedule-email"
		w.body = mail("user", fmt.Sprintf(`,"delay":%d`, 500+n*37%9000))
	case 4, 5, 6:
		w.kind, w.path = "notification", "/jobs/send-notification"
		w.body = fmt.Sprintf(`{"receiverId":"%d","message":"wish %d"}`, n%13, n)
	case 7:
		w.kind, w.path = "notification for later", "/jobs/send-notification"
		w.body = fmt.Sprintf(`{"receiverId":"%d","message":"wish %d","delay":%d}`, n%13, n, 500+n*41%9000)
	case 8, 9, 10:
		w.kind, w.path = "job", "/jobs"
		w.body = fmt.Sprintf(`{"type":"noop","payload":{"sleep_ms":%d,"pad":"wish %d"}}`, n*53%4000, n)
	case 11:
		w.kind, w.path = "job for later", "/jobs"
		w.body = fmt.Sprintf(`{"type":"noop","payload":{"pad":"wish %d"},"delay":%d}`, n, 500+n*43%9000)
	default:
		w.body = mail("user", "")
	}
	return w
}
