package attach_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail/attach"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func keeper(t *testing.T) *attach.Keeper {
	t.Helper()
	url := "sqlite:" + filepath.Join(t.TempDir(), "files.db")
	s, err := store.Open(t.Context(), store.Config{URL: url, AutoMigrate: true}, testkit.Logger(t), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return attach.NewKeeper(s.Files(), attach.Config{MaxFile: 10 << 20})
}

// candidates are mails with these attachments, one each.
func candidates(files ...[]tasks.Attachment) []*job.Candidate {
	var out []*job.Candidate
	for _, f := range files {
		out = append(out, &job.Candidate{New: &job.New{ID: job.NewID(), AcceptedBy: "shop"}, Payload: &tasks.Email{Attachments: f}})
	}
	return out
}

func email(c *job.Candidate) *tasks.Email { return c.Payload.(*tasks.Email) }

// fields are those that an error names.
func fields(err error) (names []string) {
	var bad tasks.Invalid
	errors.As(err, &bad)
	for _, f := range bad {
		names = append(names, f.Field)
	}
	return names
}

func TestAdmission(t *testing.T) {
	k := keeper(t)
	stored, err := k.Put(t.Context(), "shop", "application/pdf", []byte("stored before"))
	if err != nil {
		t.Fatal(err)
	}
	large := bytes.Repeat([]byte("large "), 10_000)
	all := candidates(
		[]tasks.Attachment{{Name: "a", ID: stored.ID}, {Name: "b", ID: stored.ID, ContentType: "image/png"}},
		[]tasks.Attachment{{Name: "c", Content: []byte("small")}, {Name: "d", Content: large, ContentType: "text/plain"}},
		[]tasks.Attachment{{Name: "e", Content: large}},
		[]tasks.Attachment{{Name: "f", Content: large}, {Name: "g", ID: strings.Repeat("0", 64)}},
		nil,
	)
	if err := k.Admit(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if a := email(all[0]).Attachments; all[0].Err != nil || a[0].ContentType != "application/pdf" || a[1].ContentType != "image/png" {
		t.Errorf("stored files: %v, %+v", all[0].Err, a)
	}
	c, d, e := email(all[1]).Attachments[0], email(all[1]).Attachments[1], email(all[2]).Attachments[0]
	if c.ID != "" || string(c.Content) != "small" {
		t.Errorf("a small file was moved: %+v", c)
	}
	if d.ID == "" || d.Content != nil || d.ContentType != "text/plain" || e.ID != d.ID {
		t.Errorf("large files stayed: %+v %+v", d, e)
	}
	got, release, err := k.Fetch(t.Context(), []string{d.ID, stored.ID, d.ID})
	if err != nil || !bytes.Equal(got[d.ID], large) || string(got[stored.ID]) != "stored before" || len(got) != 2 {
		t.Fatalf("%d files come back, %v", len(got), err)
	}
	release()
	if _, _, err := k.Fetch(t.Context(), []string{d.ID, strings.Repeat("0", 64)}); job.CodeOf(err) != job.CodeNotFound {
		t.Errorf("with one that was never stored: %v", err)
	}
	if got := fields(all[3].Err); !slices.Equal(got, []string{"attachments[1].id"}) {
		t.Errorf("one that was never stored: %v", all[3].Err)
	}
	if all[4].Err != nil {
		t.Errorf("none: %v", all[4].Err)
	}
}

func TestSizes(t *testing.T) {
	k := keeper(t)
	if _, err := k.Put(t.Context(), "shop", "", make([]byte, 10<<20+1)); !slices.Equal(fields(asFields(err)), []string{"file"}) {
		t.Errorf("too large: %v", err)
	}
	var parts []tasks.Attachment
	for i := range 3 {
		f, err := k.Put(t.Context(), "shop", "", append(make([]byte, 10<<20-1), byte(i)))
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, tasks.Attachment{Name: fmt.Sprint(i), ID: f.ID})
	}
	all := candidates(parts, parts[:2], []tasks.Attachment{{Name: "x"}, {Name: "y", Content: make([]byte, 10<<20+1)}})
	if err := k.Admit(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if got := fields(all[0].Err); !slices.Equal(got, []string{"attachments"}) {
		t.Errorf("30 MiB together: %v", all[0].Err)
	}
	if all[1].Err != nil {
		t.Errorf("20 MiB together: %v", all[1].Err)
	}
	if got := fields(all[2].Err); !slices.Equal(got, []string{"attachments[1].content"}) {
		t.Errorf("one that is too large: %v", all[2].Err)
	}
}

// large is a store of one file of 25 MiB, and says when it is read.
type large struct {
	attach.Store
	id    string
	reads chan struct{}
}

func (l large) FindFiles(context.Context, []string) (map[string]attach.File, error) {
	return map[string]attach.File{l.id: {ID: l.id, Size: int64(attach.MaxTotal)}}, nil
}

func (l large) ReadFile(context.Context, attach.File) ([]byte, error) {
	l.reads <- struct{}{}
	return make([]byte, attach.MaxTotal), nil
}

// TestRoom: only as many large files are in memory as there is room for. Others
// wait, and are told so when that takes too long.
func TestRoom(t *testing.T) {
	sum := sha256.Sum256(make([]byte, attach.MaxTotal))
	synctest.Test(t, func(t *testing.T) {
		l := large{id: hex.EncodeToString(sum[:]), reads: make(chan struct{}, 9)}
		k := attach.NewKeeper(l, attach.Config{MaxFile: attach.MaxTotal})
		_, one, err := k.Fetch(t.Context(), []string{l.id})
		if err != nil {
			t.Fatal(err)
		}
		_, two, err := k.Fetch(t.Context(), []string{l.id})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := k.Fetch(t.Context(), []string{l.id}); job.CodeOf(err) != job.CodeRateLimited {
			t.Errorf("a third is answered with %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := k.Fetch(ctx, []string{l.id}); !errors.Is(err, context.Canceled) {
			t.Errorf("one that is not wanted any more is answered with %v", err)
		}
		third := make(chan error)
		go func() {
			_, release, err := k.Fetch(t.Context(), []string{l.id})
			if err == nil {
				release()
			}
			third <- err
		}()
		synctest.Wait()
		if n := len(l.reads); n != 2 {
			t.Errorf("%d were read", n)
		}
		one()
		if err := <-third; err != nil {
			t.Errorf("once there is room: %v", err)
		}
		two()
	})
}

// asFields is the fields of an error with a code.
func asFields(err error) error {
	var e *job.Error
	if errors.As(err, &e) {
		return e.Fields
	}
	return err
}

// away is a store whose database does not answer.
type away struct{ attach.Store }

func (away) UseFiles(context.Context, []attach.Use) (map[string]attach.File, error) {
	return nil, job.Errorf(job.CodeTemporary, "the database does not answer")
}

// TestNobodyKnows: mails are not refused because files cannot be looked for.
func TestNobodyKnows(t *testing.T) {
	k := attach.NewKeeper(away{}, attach.Config{MaxFile: 1 << 20})
	all := candidates([]tasks.Attachment{{Name: "a", ID: strings.Repeat("0", 64)}})
	if err := k.Admit(t.Context(), all); job.CodeOf(err) != job.CodeTemporary || all[0].Err != nil {
		t.Errorf("%v, %v", err, all[0].Err)
	}
}

func TestSizeIsRead(t *testing.T) {
	for text, want := range map[string]attach.Size{"1000": 1000, "512KiB": 512 << 10, "10MiB": 10 << 20, "1 KiB": 1024} {
		var got attach.Size
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s is %d, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "x", "-1", "10MB", "1.5MiB", "99999999999999999999"} {
		if err := new(attach.Size).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	for size, want := range map[attach.Size]string{0: "0 bytes", 10 << 20: "10 MiB", 1536: "1536 bytes", 512 << 10: "512 KiB"} {
		if size.String() != want {
			t.Errorf("%d is told as %s", size, size)
		}
	}
	for _, c := range []attach.Config{{}, {MaxFile: 26 << 20}} {
		if c.Validate() == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
