package crowd

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sys/unix"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/live"
)

// Secret is what the Hub's tokens are signed with.
const Secret = "the secret of the bench, which guards nothing"

// plainAuth is an auth that a server believes: the rooms that the client is to
// be in.
func plainAuth(_ string, rooms ...string) (string, error) {
	text, err := json.Marshal(map[string]any{"rooms": rooms})
	return string(text), err
}

// tokenAuth is an auth that the Hub checks.
func tokenAuth(user string, rooms ...string) (string, error) {
	token, err := Token(user, rooms...)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(map[string]string{"token": token})
	return string(text), err
}

// Token is a user's, for an hour, signed with Secret.
func Token(user string, rooms ...string) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(Secret)}, nil)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	token, err := jwt.Signed(signer).Claims(map[string]any{
		"sub": user, "rooms": rooms, "exp": time.Now().Add(time.Hour).Unix(),
	}).Serialize()
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return token, nil
}

// note is a notification as the Hub's clients get it; all servers send the same.
type note struct {
	Stream    string    `json:"stream"`
	Seq       int64     `json:"seq"`
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	Message   string    `json:"message"`
	Timestamp time.Time `json:"timestamp"`
}

const noteID = "01890f3e-7b1a-7cc2-b1a5-1f0c6d3a2e11"

// shouter is a client that asks its server to tell a room, as one of a chat does.
type shouter struct {
	client *client
	seq    int64
}

func newShouter(addr string) (*shouter, error) {
	auth, err := plainAuth("")
	if err != nil {
		return nil, err
	}
	k, err := dial(addr, auth)
	if err != nil {
		return nil, err
	}
	return &shouter{client: k}, nil
}

func (s *shouter) say(_ context.Context, room, message string) error {
	s.seq++
	n, err := json.Marshal(note{Stream: inbox.OfRoom(room), Seq: s.seq, ID: noteID, Type: "message", Message: message, Timestamp: time.Now().UTC()})
	if err != nil {
		return fmt.Errorf("encoding a notification: %w", err)
	}
	return s.client.write(text(fmt.Sprintf(`42["shout",%q,%s]`, room, n)))
}

func (s *shouter) close() error { return unix.Close(s.client.fd) }

// publisher tells a room as a worker's process does, over Redis.
type publisher struct {
	redis *redis.Client
	to    *live.Publisher
	seq   int64
}

func newPublisher(addr string) speaker {
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	return &publisher{redis: rdb, to: live.NewPublisher(rdb)}
}

func (p *publisher) say(ctx context.Context, room, message string) error {
	p.seq++
	return p.to.Publish(ctx, []inbox.Notification{{
		Stream: inbox.OfRoom(room), Seq: p.seq, ID: noteID, Type: "message", Message: message, CreatedAt: time.Now(),
	}})
}

func (p *publisher) close() error { return p.redis.Close() }
