package tasks

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// FeedbackReceive takes in what a provider or a mail server tells of mails that it
// took: it is stored as a job before its sender is thanked.
var FeedbackReceive = Define[Feedback](Type{
	Name:        "feedback:receive",
	Queue:       "default",
	Deadline:    30 * time.Second,
	MaxAttempts: 20,
	Backoff:     Backoff{Base: 5 * time.Second, Max: time.Hour, Jitter: 0.2},
})

// FeedbackMessage is the Feedback.Provider of mail: a bounce or a complaint that
// came as a message.
const FeedbackMessage = "message"

// FeedbackProviders are the values of Feedback.Provider.
var FeedbackProviders = []string{"ses", "sendgrid", "postmark", "mailgun", "generic", FeedbackMessage}

// Bounds of a Feedback, in bytes.
const (
	MaxFeedbackEvent   = MaxPayload - 1024
	MaxFeedbackMessage = 512 << 10 // in JSON a third more
)

// Feedback is the payload of FeedbackReceive: a webhook's body or a message, as it
// came.
type Feedback struct {
	Provider string          `json:"provider"`
	Event    json.RawMessage `json:"event,omitempty"`   // a webhook's body
	Message  []byte          `json:"message,omitempty"` // of the provider "message": RFC 5322, perhaps cut off
	Rcpt     string          `json:"rcpt,omitempty"`    // that the message came to, where it is known
}

// Validate implements Payload.
func (f *Feedback) Validate() error {
	var bad Invalid
	if !slices.Contains(FeedbackProviders, f.Provider) {
		bad.Add("provider", "must be one of "+strings.Join(FeedbackProviders, ", "))
	}
	switch mail := f.Provider == FeedbackMessage; {
	case mail && len(f.Message) == 0:
		bad.Add("message", "must not be empty")
	case mail && len(f.Event) > 0:
		bad.Add("event", "must be empty where a message is given")
	case !mail && len(f.Event) == 0:
		bad.Add("event", "must not be empty")
	case !mail && len(f.Message) > 0:
		bad.Add("message", "must be empty where an event is given")
	}
	if len(f.Message) > MaxFeedbackMessage {
		bad.Add("message", fmt.Sprintf("has %d bytes, the most is %d", len(f.Message), MaxFeedbackMessage))
	}
	if len(f.Rcpt) > 512 || hasControl(f.Rcpt) {
		bad.Add("rcpt", "is not a mail address")
	}
	return bad.OrNil()
}
