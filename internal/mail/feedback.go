package mail

import (
	"context"
	"time"
)

// FeedbackKind says what became of a mail after a server had taken it.
type FeedbackKind string

// The kinds of feedback.
const (
	Delivered  FeedbackKind = "delivered"  // the recipient's server has it
	Bounced    FeedbackKind = "bounced"    // it could not be delivered
	Complained FeedbackKind = "complained" // the recipient called it spam
)

// Feedback is one thing that a provider or a server tells of a mail.
type Feedback struct {
	Provider  string // that tells it
	Event     string // its name for this event, by which it is known when it comes again; 1 to 200 bytes
	Kind      FeedbackKind
	Permanent bool   // of Bounced: it will not be tried again
	Suppress  Reason // what this means for the address: Bounce, Complaint, or empty
	// Address is the recipient, as Normalise returns it. It is empty where only
	// the job is to be believed: its recipient is meant then.
	Address   string
	Job       string    // the id of the mail's job, or empty; there may be no such job
	At        time.Time // when it happened, by the provider's clock
	ReplyCode int       // SMTP reply code; 0 for none
	Message   string    // the server's words
}

// FeedbackLog keeps feedback.
type FeedbackLog interface {
	// Record keeps what is new among all: as an event of the mail's job, which
	// stays in its state, and as a suppression where the address is to get no more
	// mail. What is known by its provider and name changes nothing. All or nothing
	// is written. Errors carry a job.Code: CodeTemporary where the database does
	// not answer.
	Record(ctx context.Context, all ...Feedback) error
}
