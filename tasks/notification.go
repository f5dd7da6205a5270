package tasks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// NotificationSend puts a message into a stream: a user's, a room's or
// everyone's.
var NotificationSend = Define[Notification](Type{
	Name:        "notification:send",
	Queue:       "notification",
	Deadline:    15 * time.Second,
	MaxAttempts: 10,
	Backoff:     Backoff{Base: time.Second, Max: 5 * time.Minute, Jitter: 0.2},
})

// NotificationTypes are the values of Notification.Type.
var NotificationTypes = []string{"info", "success", "warning", "error", "message", "system"}

// Bounds of a notification, in bytes.
const (
	MaxNotificationMessage = 10_000
	MaxNotificationData    = 64_000
	MaxStreamName          = 128
)

// Notification is the payload of NotificationSend. Exactly one of ReceiverID,
// Room and Everyone says who it is for.
type Notification struct {
	ReceiverID string `json:"receiverId,omitempty"`
	Room       string `json:"room,omitempty"`
	Everyone   bool   `json:"everyone,omitempty"`

	Message string          `json:"message"`
	Type    string          `json:"type,omitempty"` // "info" when empty
	Data    json.RawMessage `json:"data,omitempty"` // any JSON value, handed through
	// Category is what its receiver may switch off or have gathered; none is
	// always delivered.
	Category string `json:"category,omitempty"`
}

// Stream names the stream it goes to: "user:x", "room:y" or "everyone".
func (n *Notification) Stream() string {
	switch {
	case n.Everyone:
		return "everyone"
	case n.Room != "":
		return "room:" + n.Room
	default:
		return "user:" + n.ReceiverID
	}
}

// Recipient is the stream.
func (n *Notification) Recipient() string { return n.Stream() }

// Validate implements Payload.
func (n *Notification) Validate() error {
	var bad Invalid
	targets := 0
	for _, given := range []bool{n.ReceiverID != "", n.Room != "", n.Everyone} {
		if given {
			targets++
		}
	}
	if targets != 1 {
		bad.Add("receiverId", "or room or everyone must be given, exactly one of them")
	}
	for field, name := range map[string]string{"receiverId": n.ReceiverID, "room": n.Room} {
		if len(name) > MaxStreamName || hasControl(name) {
			bad.Add(field, fmt.Sprintf("must be at most %d bytes without control characters", MaxStreamName))
		}
	}
	if n.Type == "" {
		n.Type = "info"
	}
	if !slices.Contains(NotificationTypes, n.Type) {
		bad.Add("type", "must be one of "+strings.Join(NotificationTypes, ", "))
	}
	switch {
	case strings.TrimSpace(n.Message) == "":
		bad.Add("message", "must not be empty")
	case len(n.Message) > MaxNotificationMessage:
		bad.Add("message", fmt.Sprintf("is longer than %d bytes", MaxNotificationMessage))
	}
	checkBody(&bad, "message", n.Message)
	checkCategory(&bad, n.Category)
	if bytes.Equal(n.Data, []byte("null")) {
		n.Data = nil
	}
	if len(n.Data) > MaxNotificationData {
		bad.Add("data", fmt.Sprintf("is longer than %d bytes", MaxNotificationData))
	}
	return bad.OrNil()
}
