package recipient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
)

// ErrChanged is the error, with CodeConflict, of a change to preferences that
// are not those any more that the caller has seen.
var ErrChanged = errors.New("the preferences were changed in the meantime")

// AnyVersion is the version of a caller who has not looked.
const AnyVersion = -1

// Service is the commands on preferences, and what they say about messages.
type Service struct {
	// Mails and Notifications are what preferences are about.
	Mails, Notifications *Channel

	store     Store
	essential func(category string) bool
	log       *slog.Logger
}

// Options are what a Service is made of; all are needed.
type Options struct {
	Store      Store
	Categories mail.Categories
	Log        *slog.Logger
}

// New makes a Service.
func New(o Options) *Service {
	essential := o.Categories.Essential
	return &Service{
		store: o.Store, essential: essential, log: o.Log.With("component", "recipient"),
		Mails:         &Channel{essential: essential, find: o.Store.OfAddresses, read: readMail},
		Notifications: &Channel{essential: essential, find: o.Store.OfIDs, read: readNotification},
	}
}

// Get returns a recipient's preferences; CodeNotFound where there are none.
func (s *Service) Get(ctx context.Context, id string) (Preferences, error) {
	id, err := NormalID(id)
	if err != nil {
		return Preferences{}, err
	}
	found, err := s.store.OfIDs(ctx, []string{id})
	if err != nil {
		return Preferences{}, fmt.Errorf("finding preferences: %w", err)
	}
	p, ok := found[id]
	if !ok {
		return Preferences{}, notFound()
	}
	return p, nil
}

// Put makes a recipient's preferences what p says, as a whole. seen is the
// version that the caller has looked at, 0 for none at all: where there is
// another by now, the error is ErrChanged. An address that is in another
// recipient's preferences is a CodeConflict too.
func (s *Service) Put(ctx context.Context, p Preferences, seen int64) (Preferences, error) {
	if err := p.normal(s.essential); err != nil {
		return Preferences{}, err
	}
	return s.change(ctx, p.ID, seen, func(old *Preferences, now time.Time) (*Preferences, error) {
		out := p
		out.UpdatedAt, out.Version = now, versionAt(now, old)
		return &out, nil
	})
}

// versionAt is a version above the one there is, that nobody else gives: neither
// to what was deleted before, nor at the same moment. change knows its own by it.
func versionAt(now time.Time, old *Preferences) int64 {
	const chance = 1 << 20
	return max(now.UnixMilli()*chance, versionOf(old)+1) + rand.Int64N(chance)
}

// Delete deletes a recipient's preferences; everything reaches them again. What
// was gathered until now still goes out as a digest. CodeNotFound where there
// are none; seen is as in Put.
func (s *Service) Delete(ctx context.Context, id string, seen int64) error {
	id, err := NormalID(id)
	if err != nil {
		return err
	}
	_, err = s.change(ctx, id, seen, func(old *Preferences, _ time.Time) (*Preferences, error) {
		if old == nil {
			return nil, notFound()
		}
		return nil, nil
	})
	return err
}

// change has decide alter the preferences if they are of the version seen. The
// store may ask twice, where it did not hear that it was done.
func (s *Service) change(ctx context.Context, id string, seen int64, decide Change) (Preferences, error) {
	tried, written := false, int64(0)
	out, err := s.store.Change(ctx, id, func(old *Preferences, now time.Time) (*Preferences, error) {
		version := versionOf(old)
		switch {
		case tried && version == written:
			return old, nil
		case seen != AnyVersion && seen != version:
			return nil, job.Wrap(job.CodeConflict, ErrChanged, "the preferences are not of the given version any more")
		}
		p, err := decide(old, now)
		tried, written = true, versionOf(p)
		return p, err
	})
	if err != nil {
		return Preferences{}, fmt.Errorf("changing preferences: %w", err)
	}
	s.log.Debug("preferences were changed")
	return out, nil
}

// versionOf is 0 where there are none.
func versionOf(p *Preferences) int64 {
	if p == nil {
		return 0
	}
	return p.Version
}

func notFound() error {
	return job.Errorf(job.CodeNotFound, "there are no preferences of this recipient")
}
