// Package attach keeps the files that mails carry. A file is stored once, under
// the hash of its content, and a job's payload names it: what a mail weighs is in
// SQL once, whatever the number of its recipients, and never in Redis.
//
// A file that an accepted job names is there as long as the job's payload is.
// One that no job names is deleted a day after its last use, at the earliest; one
// that only an erased person's mails named, with them.
package attach

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// Bounds of what mails carry, in bytes.
const (
	// MaxTotal is what the files of one mail have together. In base64 they take
	// a third more, which is about what the larger servers allow.
	MaxTotal Size = 25 << 20
	// keepInline is up to where a file that came within a request stays within
	// the job's payload.
	keepInline = 4 << 10
)

// MinUnused is how long a file that no job names is kept after its last use. It
// must be longer than a request takes from finding a file to writing its job.
const MinUnused = 24 * time.Hour

// Config bounds what can be stored.
type Config struct {
	MaxFile Size `env:"POSTRIDER_MAX_ATTACHMENT" envDefault:"10MiB" help:"the largest file that a mail may carry, such as 512KiB or 10MiB; 25MiB at most, which is also what all files of a mail may have together"`
}

// Validate reports every setting that cannot work, by its variable's name.
func (c Config) Validate() error {
	if c.MaxFile < 1 || c.MaxFile > MaxTotal {
		return fmt.Errorf("POSTRIDER_MAX_ATTACHMENT must be from 1 byte to %s", MaxTotal)
	}
	return nil
}

// Size is a number of bytes.
type Size int64

// UnmarshalText reads 1000, 512KiB or 10MiB.
func (s *Size) UnmarshalText(text []byte) error {
	digits, unit := string(text), int64(1)
	if d, ok := strings.CutSuffix(digits, "KiB"); ok {
		digits, unit = d, 1<<10
	} else if d, ok := strings.CutSuffix(digits, "MiB"); ok {
		digits, unit = d, 1<<20
	}
	n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 32) // times a MiB it fits
	if err != nil || n < 0 {
		return errors.New("must be a number of bytes such as 1000, 512KiB or 10MiB")
	}
	*s = Size(n * unit)
	return nil
}

// String is the size in the largest unit of which it is a multiple.
func (s Size) String() string {
	switch {
	case s >= 1<<20 && s%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", s>>20)
	case s >= 1<<10 && s%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", s>>10)
	}
	return fmt.Sprintf("%d bytes", s)
}

// File is a stored file. Its name is each mail's own.
type File struct {
	ID          string // SHA-256 of the content, in lower-case hex
	Size        int64  // bytes
	ContentType string // a media type, as it was stored first
	Owner       string // the API key that stored it first
}

// Use says that a job's payload names a file.
type Use struct {
	Job  job.ID
	File string
}

// Store is where files are kept. Its errors carry a job.Code: CodeTemporary
// where the database does not answer.
type Store interface {
	// PutFile keeps a file, or notes that one which is there is still wanted. A job
	// that is about to be accepted with it, if any, is a use from the beginning.
	PutFile(ctx context.Context, f File, content []byte, by job.ID) error

	// UseFiles notes uses, of jobs that are about to be accepted, and returns the
	// files that are there, by id. From then on these stay for MinUnused, and as
	// long as the job has its payload.
	UseFiles(ctx context.Context, uses []Use) (map[string]File, error)

	// FindFiles returns those of the files that are there, by id.
	FindFiles(ctx context.Context, ids []string) (map[string]File, error)

	// ReadFile returns the content of a file that was found, or CodeNotFound.
	ReadFile(ctx context.Context, f File) ([]byte, error)

	// PruneFiles forgets uses by jobs that have no payload any more and deletes
	// files that nothing uses, at most limit of each, where both are older than
	// MinUnused. It returns the larger number.
	PruneFiles(ctx context.Context, limit int) (int, error)
}

// Keeper stores files and sees to it that jobs name such as are there.
type Keeper struct {
	store Store
	max   Size
	room  *semaphore.Weighted // for files that are being sent, in bytes
}

// NewKeeper makes a Keeper of a valid configuration.
func NewKeeper(s Store, c Config) *Keeper {
	return &Keeper{store: s, max: c.MaxFile, room: semaphore.NewWeighted(maxHeld)}
}

// MaxFile is the largest file that Put takes.
func (k *Keeper) MaxFile() Size { return k.max }

// Put keeps a file for an owner. It errs with CodeInvalid where that cannot be.
func (k *Keeper) Put(ctx context.Context, owner, contentType string, content []byte) (File, error) {
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	var bad tasks.Invalid
	switch {
	case len(content) == 0:
		bad.Add("file", "must not be empty")
	case Size(len(content)) > k.max:
		bad.Add("file", fmt.Sprintf("is larger than %s", k.max))
	}
	if !tasks.FileType(contentType) {
		bad.Add("content_type", "is not the media type of a file")
	}
	if err := bad.OrNil(); err != nil {
		return File{}, job.Invalid(err)
	}
	f := File{ID: idOf(content), Size: int64(len(content)), ContentType: contentType, Owner: owner}
	return f, k.store.PutFile(ctx, f, content, "")
}

func idOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

var _ job.Admission = (*Keeper)(nil)

// Admit implements job.Admission for tasks.EmailSend: files that a payload names
// must be there, and larger ones that it holds are stored and named instead.
func (k *Keeper) Admit(ctx context.Context, jobs []*job.Candidate) error {
	stored := map[string]bool{} // in this request
	var uses []Use
	for _, c := range jobs {
		e, ok := c.Payload.(*tasks.Email)
		if !ok || len(e.Attachments) == 0 {
			continue
		}
		if err := k.checkSizes(e); err != nil {
			c.Err = err
			continue
		}
		for i := range e.Attachments {
			if err := k.moveOut(ctx, &e.Attachments[i], c.New, stored); err != nil {
				return err
			}
			if id := e.Attachments[i].ID; id != "" {
				uses = append(uses, Use{c.New.ID, id})
			}
		}
	}
	if len(uses) == 0 {
		return nil
	}
	found, err := k.store.UseFiles(ctx, uses)
	if err != nil {
		return err
	}
	for _, c := range jobs {
		if e, ok := c.Payload.(*tasks.Email); ok && c.Err == nil {
			c.Err = resolve(e, found)
		}
	}
	return nil
}

// checkSizes bounds the files that came within the request.
func (k *Keeper) checkSizes(e *tasks.Email) error {
	var bad tasks.Invalid
	for i, f := range e.Attachments {
		if Size(len(f.Content)) > k.max {
			bad.Add(fmt.Sprintf("attachments[%d].content", i), fmt.Sprintf("is larger than %s", k.max))
		}
	}
	return bad.OrNil()
}

// moveOut stores a file that came within the request, unless it is small.
func (k *Keeper) moveOut(ctx context.Context, f *tasks.Attachment, by *job.New, stored map[string]bool) error {
	if len(f.Content) <= keepInline {
		return nil
	}
	id := idOf(f.Content)
	if !stored[id] {
		file := File{ID: id, Size: int64(len(f.Content)), ContentType: f.ContentType, Owner: by.AcceptedBy}
		if err := k.store.PutFile(ctx, file, f.Content, by.ID); err != nil {
			return err
		}
		stored[id] = true
	}
	f.ID, f.Content = id, nil
	return nil
}

// resolve completes what the mail says of its files. It errs where one of them
// is not there, or all are too large together.
func resolve(e *tasks.Email, found map[string]File) error {
	var bad tasks.Invalid
	var total Size
	for i := range e.Attachments {
		a := &e.Attachments[i]
		total += Size(len(a.Content))
		if a.ID == "" {
			continue
		}
		f, there := found[a.ID]
		if !there {
			bad.Add(fmt.Sprintf("attachments[%d].id", i), "names no stored file: it was never stored, or not used for so long that it was deleted")
			continue
		}
		total += Size(f.Size)
		if a.ContentType == "" {
			a.ContentType = f.ContentType
		}
	}
	if total > MaxTotal {
		bad.Add("attachments", fmt.Sprintf("have %d bytes together, the most is %s", total, MaxTotal))
	}
	return bad.OrNil()
}
