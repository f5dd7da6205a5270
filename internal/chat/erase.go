package chat

import (
	"context"
	"fmt"
	"time"
)

// eraseReserve is left of the caller's time when messages are archived before an
// erasure.
const eraseReserve = 3 * time.Second

// EraseUser erases at most limit messages of a user, in Redis and in SQL, and says
// how many; fewer than limit mean that nothing is left. What stays of them is that
// a message was there. ctx has a deadline.
func (s *Service) EraseUser(ctx context.Context, user string, limit int) (int, error) {
	// SQL alone can say what a user has written: so everything has to be there.
	until, bounded := ctx.Deadline()
	if !bounded {
		until = time.Now().Add(time.Minute)
	}
	switch _, more, err := s.run(ctx, until.Add(-eraseReserve), 0); {
	case err != nil:
		return 0, err
	case more:
		return limit, nil
	}
	written, err := s.archive.WrittenBy(ctx, user, limit)
	if err != nil || len(written) == 0 {
		return 0, err
	}
	// First in Redis: what SQL has blanked is not found again.
	if err := s.drop(ctx, written...); err != nil {
		return 0, err
	}
	if err := s.archive.Blank(ctx, written); err != nil {
		return 0, fmt.Errorf("erasing messages: %w", err)
	}
	return len(written), nil
}
