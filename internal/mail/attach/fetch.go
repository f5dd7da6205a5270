package attach

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postrider/postrider/internal/job"
)

const (
	// maxHeld is what the files of all mails that a process is sending take in
	// memory together, in bytes. It is more than those of one mail: MaxTotal.
	maxHeld = 64 << 20
	// roomWait is how long a mail waits for others to have gone.
	roomWait = 5 * time.Second
)

// Fetch reads the files that one mail carries, by their ids. They count until they
// are released, which has to be done once: as many mails are sent at a time as
// their files fit into maxHeld. The error has CodeRateLimited where there was no
// room soon enough, and CodeNotFound where a file is not there.
func (k *Keeper) Fetch(ctx context.Context, ids []string) (files map[string][]byte, release func(), err error) {
	found, err := k.store.FindFiles(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	var size int64
	for _, f := range found {
		size += f.Size
	}
	size = min(size, maxHeld) // what was accepted under other bounds goes alone
	if err := k.enter(ctx, size); err != nil {
		return nil, nil, err
	}
	release = func() { k.room.Release(size) }
	files = make(map[string][]byte, len(found))
	for _, id := range ids {
		if files[id] != nil {
			continue
		}
		content, err := k.read(ctx, found, id)
		if err != nil {
			release()
			return nil, nil, err
		}
		files[id] = content
	}
	return files, release, nil
}

// enter waits for room.
func (k *Keeper) enter(ctx context.Context, size int64) error {
	errFull := job.Errorf(job.CodeRateLimited, "the files of mails that are being sent take all the memory that is for them")
	bounded, cancel := context.WithTimeoutCause(ctx, roomWait, errFull)
	defer cancel()
	if err := k.room.Acquire(bounded, size); err != nil {
		if cause := context.Cause(bounded); errors.Is(cause, errFull) {
			return cause
		}
		return fmt.Errorf("waiting for room for files: %w", context.Cause(ctx))
	}
	return nil
}

func (k *Keeper) read(ctx context.Context, found map[string]File, id string) ([]byte, error) {
	f, there := found[id]
	if !there {
		return nil, job.Errorf(job.CodeNotFound, "there is no file %s", id)
	}
	content, err := k.store.ReadFile(ctx, f)
	if err == nil && idOf(content) != id {
		err = job.Errorf(job.CodeInternal, "the stored file %s is damaged", id)
	}
	return content, err
}
