package mail

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Reason says why an address gets no mail.
type Reason string

// The reasons, the gravest first. An essential mail goes out against Unsubscribe
// alone: what a server, a recipient's complaint or an operator has said holds for
// every mail.
const (
	Complaint   Reason = "complaint"   // the recipient called a mail spam
	Bounce      Reason = "bounce"      // a server said that the address does not exist
	Manual      Reason = "manual"      // somebody put it on the list
	Unsubscribe Reason = "unsubscribe" // the recipient wants no more of these
)

// Reasons lists the reasons, the gravest first.
var Reasons = []Reason{Complaint, Bounce, Manual, Unsubscribe}

// Suppression says that an address gets no mail, or none of one category. There
// is one for each address, category and reason: who has unsubscribed and whose
// mailbox is gone too is still unsubscribed when the mailbox is back.
//
// It is a job.Effect: written in the transaction that settles the job whose
// outcome it is.
type Suppression struct {
	Seq      int64  // given by the store: rises in the order of insertion
	Address  string // as Normalise returns it
	Category string // of the mails that are meant; empty for all
	Reason   Reason
	Note     string    // for people: a server's reply, a ticket; MaxNote bytes at most
	Actor    string    // the API key or user that said so; empty for Postrider itself
	Job      string    // the id of the job that it came of, or empty
	At       time.Time // when it was first said; given by the store
}

// MaxNote bounds Suppression.Note, in bytes.
const MaxNote = 500

// Note makes of a server's words what Suppression.Note takes.
func Note(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "")
	if len(s) > MaxNote {
		s = strings.ToValidUTF8(s[:MaxNote-len("…")], "") + "…"
	}
	return s
}

// EffectName implements job.Effect.
func (Suppression) EffectName() string { return "suppression" }

// String says why a mail is not sent, without the address.
func (s Suppression) String() string {
	words := "the address is suppressed for all mail"
	if s.Category != "" {
		words = "the address is suppressed for the category " + s.Category
	}
	words += ": " + string(s.Reason)
	if s.Note != "" {
		words += ", " + s.Note
	}
	return words
}

// Blocking returns the suppression that keeps a mail of the category from being
// sent, the gravest of them; found are all those of its recipient.
func Blocking(found []Suppression, category string, essential bool) (Suppression, bool) {
	var block Suppression
	for _, s := range found {
		concerns := s.Category == "" || s.Category == category
		passes := essential && s.Reason == Unsubscribe
		if concerns && !passes && (block.Reason == "" || grave(s) < grave(block)) {
			block = s
		}
	}
	return block, block.Reason != ""
}

// grave is a suppression's place among others.
func grave(s Suppression) int { return slices.Index(Reasons, s.Reason) }

// Check finds what is wrong with a suppression that came from outside, whose
// Address is normal already.
func (s Suppression) Check() error {
	switch {
	case !slices.Contains(Reasons, s.Reason):
		return fmt.Errorf("the reason must be one of %v", Reasons)
	case s.Category != "" && !categoryPattern.MatchString(s.Category):
		return fmt.Errorf("the category must be up to 64 lower-case letters, digits, hyphens and underscores")
	case s.Category != "" && (s.Reason == Bounce || s.Reason == Complaint):
		return fmt.Errorf("the reason %s is about the address, and so for all categories", s.Reason)
	case len(s.Note) > MaxNote:
		return fmt.Errorf("the note must have at most %d bytes", MaxNote)
	case strings.ContainsRune(s.Note, 0):
		return fmt.Errorf("the note must not contain NUL")
	}
	return nil
}

// SuppressionFilter chooses suppressions; zero fields do not.
type SuppressionFilter struct {
	Address  string // as Normalise returns it
	Category string // AllMail for those of no category
	Reason   Reason
	Before   int64 // cursor: Seq below this one
	Limit    int   // 1 to 1,000; of List only
}

// ErasedPrefix begins the Suppression.Address of a person who was erased: the
// HMAC-SHA256 of the address, in hex, follows. Find and Unsuppress know it by the
// address itself.
const ErasedPrefix = "hmac-sha256:"

// AllMail is the SuppressionFilter.Category of suppressions that are for all
// mail. No category has such a name.
const AllMail = "*"

// Suppressions is the list of who gets no mail. Its errors carry a job.Code:
// CodeTemporary where the database does not answer.
type Suppressions interface {
	// Suppress writes all of them, or none. One that is there already keeps its
	// time; its note, actor and job are replaced.
	Suppress(ctx context.Context, all ...Suppression) error

	// Unsuppress removes what the filter chooses, which must name an address, and
	// returns what that was.
	Unsuppress(ctx context.Context, f SuppressionFilter) ([]Suppression, error)

	// Find returns all that concerns the addresses, which are normal.
	Find(ctx context.Context, addresses ...string) ([]Suppression, error)

	// List returns what the filter chooses, the newest first.
	List(ctx context.Context, f SuppressionFilter) ([]Suppression, error)
}
