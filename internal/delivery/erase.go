package delivery

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
)

// Person is whom Erase erases, as the database may tell of them.
type Person struct {
	Address    string   // normalised
	Recipients []string // as jobs keep them: the address in its forms, streams
	Forms      []string // of the address, in lower case: its domain as it was given, and in ASCII
}

// PersonOf is the person of an address, and of the user of that name where one
// is given. CodeInvalid where it is no mail address.
func PersonOf(address, user string) (Person, error) {
	normal, err := mail.Normalise(address)
	if err != nil {
		return Person{}, job.Errorf(job.CodeInvalid, "whom to erase is not a mail address")
	}
	p := Person{Address: normal, Recipients: everyForm(address), Forms: Forms(address)}
	if user != "" {
		p.Recipients = append(p.Recipients, "user:"+user)
	}
	return p, nil
}

// Erased replaces an address in a text that stays.
const Erased = "erased@erased.invalid"

// Eraser is what erasing needs of the database.
type Eraser interface {
	// CountPerson says how many jobs there are for the person, by state.
	CountPerson(ctx context.Context, p Person) (map[job.State]int, error)
	// ErasePerson erases at most limit of the person's jobs that are over: whose
	// they are, what they said, the words of their history, what describes them,
	// the notifications that they made, and the files that they alone name. State,
	// type and times stay, and each has an event of who did it. It says how many it
	// erased.
	ErasePerson(ctx context.Context, p Person, actor string, limit int) (int, error)
	// UnreadFeedback reports whether feedback that came until then is still to be
	// taken in, about whomever: a report may name nothing but the mail's job.
	UnreadFeedback(ctx context.Context, until time.Time) (bool, error)
	// UnfinishedOf lists at most limit of the person's jobs that are not over.
	UnfinishedOf(ctx context.Context, p Person, limit int) ([]job.ID, error)
	// EraseInbox erases at most limit notifications and marks of a user, and says
	// how many; fewer than limit mean that nothing is left of the inbox. Its stream
	// begins anew if something comes after all.
	EraseInbox(ctx context.Context, user string, limit int) (int, error)
	// Sweep looks for the person's address, also where it is encoded, through at
	// most limit rows of what is at that place, and replaces each quote by Erased,
	// or deletes the row where it is the person's own. An address on a list of who
	// gets no mail stays on it, as a hash. It returns the place to go on from, empty
	// at the end, and how many rows it changed. The empty place is the beginning.
	// Where feedback about the person is still to be taken in, nothing is changed,
	// and the place is the same.
	Sweep(ctx context.Context, p Person, place string, limit int) (next string, changed int, err error)
}

const (
	erasePage = 500
	sweepPage = 2000
	// eraseReserve is left of the caller's time when no further page is begun.
	eraseReserve = 3 * time.Second
)

// Erasure says how far an erasure has come.
type Erasure struct {
	Jobs      int // of the person, erased by this call
	Texts     int // rows of others, or without a job, that gave the address away
	Cancelled int // jobs that were not over
	// Next is where to go on from, in another call; empty when all is done.
	Next string
}

// CountErasable says how many jobs of each state Erase would erase.
func (s *Service) CountErasable(ctx context.Context, p Person) (map[job.State]int, error) {
	return s.Store.CountPerson(ctx, p)
}

// What begins an Erasure.Next: the time until which feedback has to be read, or
// a place of the sweep. Between them it is atJobs.
const (
	unread = "feedback "
	atJobs = "jobs"
	swept  = "sweep "
)

// Erase erases a person: has feedback be read first, which may be why the address
// is to get no mail, cancels what is unfinished, erases the person's jobs and
// inboxes, and then looks through every table for what else gives the address
// away. It works in small transactions and stops some seconds before ctx ends, or
// where a job still runs that must be over first, with Next: the next call goes on
// from there. To begin again is safe. What was done stays done after an error.
func (s *Service) Erase(ctx context.Context, p Person, actor, from string) (Erasure, error) {
	var e Erasure
	place, sweeping := strings.CutPrefix(from, swept)
	if !sweeping {
		place = ""
		if next, err := s.awaitFeedback(ctx, from); err != nil || next != atJobs {
			e.Next = next
			return e, err
		}
		if over, err := s.eraseJobs(ctx, p, actor, &e); err != nil || !over {
			e.Next = atJobs
			return e, err
		}
		if err := s.eraseInboxes(ctx, p, &e); err != nil || e.Next != "" {
			return e, err
		}
		if err := s.eraseChats(ctx, p, &e); err != nil || e.Next != "" {
			return e, err
		}
	}
	for {
		next, n, err := s.Store.Sweep(ctx, p, place, sweepPage)
		if err != nil {
			return e, fmt.Errorf("looking for quotes: %w", err)
		}
		if e.Texts += n; next == "" {
			e.Next = ""
			return e, nil
		}
		waits := next == place
		place, e.Next = next, swept+next
		if waits || late(ctx) {
			return e, nil
		}
	}
}

// awaitFeedback returns where an erasure goes on that has come to that place, if
// it has not come to the sweep.
func (s *Service) awaitFeedback(ctx context.Context, from string) (next string, err error) {
	until, err := s.Store.Now(ctx)
	if err != nil || from == atJobs {
		return from, err
	}
	if from != "" {
		ms, err := strconv.ParseInt(strings.TrimPrefix(from, unread), 10, 64)
		if err != nil {
			return "", job.Errorf(job.CodeInvalid, "the cursor is not one that this gave")
		}
		until = time.UnixMilli(ms)
	}
	waits, err := s.Store.UnreadFeedback(ctx, until)
	if err != nil || !waits {
		return atJobs, err
	}
	return unread + strconv.FormatInt(until.UnixMilli(), 10), nil
}

// eraseJobs reports whether none is left.
func (s *Service) eraseJobs(ctx context.Context, p Person, actor string, e *Erasure) (over bool, err error) {
	for {
		unfinished, err := s.Store.UnfinishedOf(ctx, p, erasePage)
		if err != nil {
			return false, err
		}
		for _, id := range unfinished {
			if _, err := s.Jobs.Cancel(ctx, id, actor); err != nil && job.CodeOf(err) != job.CodeConflict { // it has just ended
				return false, fmt.Errorf("cancelling what is unfinished: %w", err)
			}
		}
		e.Cancelled += len(unfinished)
		n, err := s.Store.ErasePerson(ctx, p, actor, erasePage)
		if err != nil {
			return false, err
		}
		e.Jobs += n
		switch {
		case n == 0 && len(unfinished) == 0:
			return true, nil
		case n == 0, late(ctx): // what is left runs, and will stop soon
			return false, nil
		}
	}
}

// ChatEraser erases what a user has said in rooms: a *chat.Service.
type ChatEraser interface {
	// EraseUser erases at most limit messages, in Redis and in SQL, and says how
	// many; fewer than limit mean that nothing is left.
	EraseUser(ctx context.Context, user string, limit int) (int, error)
}

// eraseChats erases what the user has said, and who has the address for an id.
func (s *Service) eraseChats(ctx context.Context, p Person, e *Erasure) error {
	if s.Chats == nil {
		return nil
	}
	return s.eachName(ctx, p, e, s.Chats.EraseUser, "erasing what was said in rooms")
}

// eraseInboxes erases those of the user, and of who has the address for an id.
func (s *Service) eraseInboxes(ctx context.Context, p Person, e *Erasure) error {
	return s.eachName(ctx, p, e, s.Store.EraseInbox, "erasing the inbox")
}

// eachName erases, page by page, what there is of the person by each of their
// names. It sets Next where it could not end in time.
func (s *Service) eachName(ctx context.Context, p Person, e *Erasure, erase func(ctx context.Context, user string, limit int) (int, error), doing string) error {
	for _, name := range p.Recipients {
		for {
			n, err := erase(ctx, strings.TrimPrefix(name, "user:"), erasePage)
			if err != nil {
				return fmt.Errorf("%s: %w", doing, err)
			}
			if e.Texts += n; n < erasePage {
				break
			}
			if late(ctx) {
				e.Next = atJobs
				return nil
			}
		}
	}
	return nil
}

func late(ctx context.Context) bool {
	until, bounded := ctx.Deadline()
	return bounded && time.Until(until) < eraseReserve
}
