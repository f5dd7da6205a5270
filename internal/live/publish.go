package live

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/inbox"
)

// Publisher reaches the clients of all api processes. It needs no Hub beside it,
// and holds nothing that must be closed. It is safe for concurrent use.
type Publisher struct {
	redis redis.UniversalClient
}

// NewPublisher makes a Publisher.
func NewPublisher(rdb redis.UniversalClient) *Publisher { return &Publisher{rdb} }

var _ inbox.Publisher = (*Publisher)(nil)

// notification is one as clients get it, by the event "notification".
type notification struct {
	Stream    string          `json:"stream"`
	Seq       int64           `json:"seq"`
	ID        string          `json:"id"`
	Type      string          `json:"type"`
	Message   string          `json:"message"`
	Data      json.RawMessage `json:"data,omitempty"`
	Timestamp time.Time       `json:"timestamp"`
}

func tell(n inbox.Notification) notification {
	return notification{
		Stream: n.Stream, Seq: n.Seq, ID: string(n.ID), Type: n.Type, Message: n.Message, Data: n.Data, Timestamp: n.CreatedAt.UTC(),
	}
}

// Publish pushes notifications to who is connected, each as the event
// "notification".
func (p *Publisher) Publish(ctx context.Context, notes []inbox.Notification) error {
	out := make([]envelope, len(notes))
	for i, n := range notes {
		room := n.Stream
		if room == inbox.Everyone {
			room = ""
		}
		var err error
		if out[i], err = newEnvelope(room, "notification", tell(n), notificationAliases(n)...); err != nil {
			return err
		}
		out[i].Trace = n.Trace
	}
	return p.send(ctx, out...)
}

// unreadCount is how much of an inbox is new, as the event "unread_count".
type unreadCount struct {
	Count   int64            `json:"count"`
	Unseen  int64            `json:"unseen"`
	Version int64            `json:"version"` // of two the one with the higher is later
	Last    map[string]int64 `json:"last"`    // the sequence to which each stream is counted
}

// PublishCounts pushes how a user's inbox stands to all of the user's clients.
func (p *Publisher) PublishCounts(ctx context.Context, c inbox.Counts) error {
	e, err := newEnvelope(inbox.Of(c.User), "unread_count", unreadCount{Count: c.Unread, Unseen: c.Unseen, Version: c.Version, Last: c.Last})
	if err != nil {
		return err
	}
	return p.send(ctx, e)
}

// EndSession tells all processes of a login to the dashboard that was ended, by
// its fingerprint.
func (p *Publisher) EndSession(ctx context.Context, fingerprint string) error {
	return p.send(ctx, envelope{Ended: fingerprint})
}

// send publishes envelopes, in one round trip. Redis does not keep them: who
// does not listen now does not get them.
func (p *Publisher) send(ctx context.Context, envelopes ...envelope) error {
	_, err := p.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, e := range envelopes {
			text, err := e.encode()
			if err != nil {
				return err
			}
			if sharded(p.redis) {
				pipe.SPublish(ctx, channelOf(p.redis, e), text)
			} else {
				pipe.Publish(ctx, channelOf(p.redis, e), text)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("publishing to connected clients: %w", err)
	}
	return nil
}
