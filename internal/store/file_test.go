package store_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/mail/attach"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/tasks"
)

// filed is a content of that many bytes and what is said of it.
func filed(size int) (attach.File, []byte) {
	content := bytes.Repeat([]byte("0123456789abcdef\x00"), size/17+1)[:size]
	sum := sha256.Sum256(content)
	return attach.File{ID: hex.EncodeToString(sum[:]), Size: int64(size), ContentType: "application/pdf", Owner: "shop"}, content
}

// accepted writes a waiting mail.
func accepted(t *testing.T, s *store.Store) job.ID {
	t.Helper()
	id := job.NewID()
	n := job.New{ID: id, Type: "email:send", Queue: "email", Payload: []byte(`{}`), MaxAttempts: 3, OnAmbiguous: tasks.Resend}
	if _, err := s.Accept(t.Context(), job.Request{Base: id, Jobs: []job.New{n}}); err != nil {
		t.Fatal(err)
	}
	return id
}

// withFiles opens a store with a clock of the test's, and no files in it.
func withFiles(t *testing.T, url string) (*store.Store, jobtest.Clock) {
	t.Helper()
	clock := jobtest.NewClock()
	s := open(t, url, store.Options{Clock: clock.Now})
	for _, table := range []string{"files", "file_chunks", "file_uses", "jobs", "job_events"} {
		if _, err := raw(t, url).Exec("DELETE FROM " + table); err != nil {
			t.Fatal(err)
		}
	}
	return s, clock
}

func TestFilesComeBack(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		s, _ := withFiles(t, url)
		for _, size := range []int{1, 256<<10 - 1, 256 << 10, 256<<10 + 1, 3<<20 + 5} {
			f, content := filed(size)
			for range 2 { // once more changes nothing
				if err := s.Files().PutFile(t.Context(), f, content, ""); err != nil {
					t.Fatal(err)
				}
			}
			got, err := s.Files().ReadFile(t.Context(), f)
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("of %d bytes %d came back, %v", size, len(got), err)
			}
		}
		if _, err := s.Files().ReadFile(t.Context(), attach.File{ID: strings.Repeat("0", 64)}); job.CodeOf(err) != job.CodeNotFound {
			t.Errorf("one that is not there: %v", err)
		}
		rows := 0
		if err := raw(t, url).QueryRow("SELECT count(*) FROM file_chunks").Scan(&rows); err != nil || rows != 1+1+1+2+13 {
			t.Errorf("%d rows, %v", rows, err)
		}
	})
}

func TestUsesAreNoted(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		s, clock := withFiles(t, url)
		f, content := filed(100)
		if err := s.Files().PutFile(t.Context(), f, content, ""); err != nil {
			t.Fatal(err)
		}
		one, two, none := job.NewID(), job.NewID(), strings.Repeat("0", 64)
		for range 3 { // fresh, and then of an age at which the row is written
			got, err := s.Files().UseFiles(t.Context(), []attach.Use{{Job: two, File: f.ID}, {Job: one, File: none}, {Job: one, File: f.ID}, {Job: one, File: f.ID}})
			if err != nil || len(got) != 1 || got[f.ID] != f {
				t.Errorf("found %+v, %v", got, err)
			}
			clock.Advance(2 * time.Hour)
		}
		rows := 0
		if err := raw(t, url).QueryRow("SELECT count(*) FROM file_uses").Scan(&rows); err != nil || rows != 2 {
			t.Errorf("%d uses, %v", rows, err)
		}
	})
}

// TestFilesOutliveTheirJobs: a file goes when no payload names it any more, and
// no sooner than a day after its last use.
func TestFilesOutliveTheirJobs(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		s, clock := withFiles(t, url)
		files := s.Files()
		db := raw(t, url)
		kept, content := filed(100)
		fresh, other := filed(200)
		for _, f := range []struct {
			attach.File
			content []byte
		}{{kept, content}, {fresh, other}} {
			if err := files.PutFile(t.Context(), f.File, f.content, ""); err != nil {
				t.Fatal(err)
			}
		}
		waiting := accepted(t, s)
		refused := job.NewID() // never accepted
		if _, err := files.UseFiles(t.Context(), []attach.Use{{Job: waiting, File: kept.ID}, {Job: refused, File: kept.ID}, {Job: refused, File: fresh.ID}}); err != nil {
			t.Fatal(err)
		}
		prune := func(want int) {
			t.Helper()
			if n, err := files.PruneFiles(t.Context(), 100); err != nil || n != want {
				t.Errorf("pruned %d, %v, want %d", n, err, want)
			}
		}
		there := func(f attach.File, want bool) {
			t.Helper()
			_, err := files.ReadFile(t.Context(), f)
			if got := err == nil; got != want || err != nil && job.CodeOf(err) != job.CodeNotFound {
				t.Errorf("the file of %d bytes is there: %v, %v", f.Size, got, err)
			}
		}
		clock.Advance(attach.MinUnused - time.Second)
		prune(0)
		there(fresh, true)
		clock.Advance(2 * time.Second)
		prune(2) // the uses of the job that never was, and the file that it alone used
		there(fresh, false)
		clock.Advance(300 * 24 * time.Hour) // a job may wait for long
		prune(0)
		there(kept, true)

		second := accepted(t, s)
		if _, err := files.UseFiles(t.Context(), []attach.Use{{Job: second, File: kept.ID}}); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec("UPDATE jobs SET payload = NULL"); err != nil {
			t.Fatal(err)
		}
		prune(1) // the first job's use; the second's is young
		there(kept, true)
		clock.Advance(attach.MinUnused + time.Second)
		prune(1)
		there(kept, false)
		for _, table := range []string{"files", "file_chunks", "file_uses"} {
			rows := 0
			if err := db.QueryRow("SELECT count(*) FROM " + table).Scan(&rows); err != nil || rows != 0 {
				t.Errorf("%s has %d rows, %v", table, rows, err)
			}
		}
		if got, err := files.UseFiles(t.Context(), []attach.Use{{Job: second, File: kept.ID}}); err != nil || len(got) != 0 {
			t.Errorf("found %+v, %v", got, err)
		}
		if err := files.PutFile(t.Context(), kept, content, ""); err != nil { // it may come again
			t.Fatal(err)
		}
		there(kept, true)
	})
}

// TestPruningGoesOn: limit bounds a call, and less than limit means that it is
// done.
func TestPruningGoesOn(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		s, clock := withFiles(t, url)
		for i := range 7 {
			f, content := filed(i + 1)
			if err := s.Files().PutFile(t.Context(), f, content, ""); err != nil {
				t.Fatal(err)
			}
		}
		clock.Advance(attach.MinUnused + time.Second)
		for _, want := range []int{3, 3, 1, 0} {
			if n, err := s.Files().PruneFiles(t.Context(), 3); err != nil || n != want {
				t.Errorf("pruned %d, %v, want %d", n, err, want)
			}
		}
	})
}
