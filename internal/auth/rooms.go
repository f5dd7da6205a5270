package auth

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"github.com/postrider/postrider/internal/webhook"
)

// RoomsConfig is who is asked about rooms that tokens do not list.
type RoomsConfig struct {
	URL    string `env:"POSTRIDER_LIVE_ROOM_URL" help:"asked whether a user may be in a room that the user's token does not list, by a POST of {user, room}; nobody may where it is unset; see docs/live.md"`
	Secret string `env:"POSTRIDER_LIVE_ROOM_SECRET" secret:"true" help:"what those questions are signed with, as Standard Webhooks wants it: whsec_ and the base64 of 24 to 64 bytes"`
}

// Validate reports every setting that cannot work, by its variable's name.
func (c RoomsConfig) Validate() error {
	var errs []error
	if c.URL != "" && !safeURL(c.URL) {
		errs = append(errs, errors.New("POSTRIDER_LIVE_ROOM_URL must begin with https://, or with http:// and a loopback address: whoever could change the answer on its way could enter any room"))
	}
	if c.URL != "" && c.Secret == "" {
		errs = append(errs, errors.New("POSTRIDER_LIVE_ROOM_URL needs POSTRIDER_LIVE_ROOM_SECRET: who is asked must know who asks"))
	}
	if _, err := webhook.ParseKey(c.Secret); c.Secret != "" && err != nil {
		errs = append(errs, fmt.Errorf("POSTRIDER_LIVE_ROOM_SECRET %w", err))
	}
	return errors.Join(errs...)
}

// Bounds of questions about rooms.
const (
	roomTime    = 3 * time.Second  // for one, waiting for its turn included
	roomsAtOnce = 32               // questions under way
	roomYes     = 30 * time.Second // that a yes is remembered
	roomNo      = 5 * time.Second  // that a no is
	roomsKept   = 10_000           // answers that are remembered
)

// Rooms tells who may be in which room: by the rooms that a token lists, and
// beyond those by asking the application. It is safe for concurrent use.
type Rooms struct {
	url     string
	key     webhook.Key
	post    Post
	asking  singleflight.Group // one question for each user and room
	turns   *semaphore.Weighted
	answers *prometheus.CounterVec

	mu   sync.Mutex
	kept map[roomQuestion]roomAnswer
}

type roomQuestion struct {
	User string `json:"user"`
	Room string `json:"room"`
}

type roomAnswer struct {
	yes   bool
	until time.Time
}

// Post is a fetch.Client's.
type Post func(ctx context.Context, url string, header http.Header, body []byte) (status int, answer []byte, err error)

// NewRooms makes what tells about rooms, by valid settings, and asks by post. It
// errs when its metrics are taken.
func NewRooms(c RoomsConfig, post Post, reg prometheus.Registerer) (*Rooms, error) {
	r := &Rooms{url: c.URL, post: post, turns: semaphore.NewWeighted(roomsAtOnce), kept: map[roomQuestion]roomAnswer{}}
	if r.url != "" {
		var err error
		if r.key, err = webhook.ParseKey(c.Secret); err != nil {
			return nil, fmt.Errorf("POSTRIDER_LIVE_ROOM_SECRET %w", err)
		}
	}
	r.answers = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postrider_live_room_answers_total",
		Help: "Questions whether a user may be in a room that the token does not list, by the answer: yes, no, or failed; remembered ones too.",
	}, []string{"answer"})
	if err := reg.Register(r.answers); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return r, nil
}

// MayEnter tells whether a user may be in a room, whatever its name: have the
// inbox of it, enter it, write in it. The error is that nobody could tell now.
func (r *Rooms) MayEnter(ctx context.Context, who Identity, room string) (bool, error) {
	if slices.Contains(who.Rooms, room) {
		return true, nil
	}
	if r.url == "" {
		return false, nil
	}
	q := roomQuestion{who.ID, room}
	yes, known := r.remembered(q)
	var err error
	if !known {
		yes, err = r.askOnce(ctx, q)
	}
	answer := map[bool]string{true: "yes", false: "no"}[yes]
	if err != nil {
		answer = "failed"
	}
	r.answers.WithLabelValues(answer).Inc()
	return yes, err
}

func (r *Rooms) remembered(q roomQuestion) (yes, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a, known := r.kept[q]
	return a.yes, known && time.Now().Before(a.until)
}

// askOnce joins a question that is under way. It is not ended by who asked first
// and has gone: others may wait for the answer, which is remembered.
func (r *Rooms) askOnce(ctx context.Context, q roomQuestion) (bool, error) {
	yes, err, _ := r.asking.Do(q.User+"\x00"+q.Room, func() (any, error) {
		if yes, known := r.remembered(q); known { // by a question that has just ended
			return yes, nil
		}
		ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), roomTime, errors.New("POSTRIDER_LIVE_ROOM_URL gave no answer in time"))
		defer cancel()
		yes, err := r.ask(ctx, q)
		if err == nil {
			r.remember(q, yes)
		}
		return yes, err
	})
	if err != nil {
		return false, fmt.Errorf("asking POSTRIDER_LIVE_ROOM_URL about a room: %w", err)
	}
	return yes.(bool), nil
}

// remember keeps an answer for a moment. Where there are too many it makes room
// by forgetting all that are over, or else some.
func (r *Rooms) remember(q roomQuestion, yes bool) {
	now := time.Now()
	until := now.Add(roomNo)
	if yes {
		until = now.Add(roomYes)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.kept) >= roomsKept {
		for other, a := range r.kept { // in an order by chance
			if now.After(a.until) || len(r.kept) > roomsKept*9/10 {
				delete(r.kept, other)
			}
		}
	}
	r.kept[q] = roomAnswer{yes, until}
}

// ask sends one question: 200 with {"allow": true or false}, or 403 or 404 for no.
func (r *Rooms) ask(ctx context.Context, q roomQuestion) (bool, error) {
	if err := r.turns.Acquire(ctx, 1); err != nil {
		return false, fmt.Errorf("waiting for a turn: %w", err)
	}
	defer r.turns.Release(1)
	body, err := json.Marshal(q)
	if err != nil {
		return false, fmt.Errorf("writing the question: %w", err)
	}
	status, text, err := r.post(ctx, r.url, r.key.Headers("msg_"+rand.Text(), time.Now(), body), body)
	if err != nil {
		return false, err
	}
	switch status {
	case http.StatusOK:
	case http.StatusForbidden, http.StatusNotFound:
		return false, nil
	default:
		return false, fmt.Errorf("the answer is %d", status)
	}
	var answer struct {
		Allow *bool `json:"allow"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Allow == nil {
		return false, errors.New(`the answer 200 has no {"allow": true} or {"allow": false}`)
	}
	return *answer.Allow, nil
}
