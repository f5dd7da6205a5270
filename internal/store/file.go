package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail/attach"
)

// Files is the side of a Store that keeps what mails carry.
type Files struct{ s *Store }

var _ attach.Store = Files{}

// Files is the attach.Store over the same database.
func (s *Store) Files() Files { return Files{s} }

const (
	// chunkSize is how much of a file is in a row, in bytes.
	chunkSize = 256 << 10
	// usedEvery is how exact used_at is. A file that every mail carries is not
	// written for each of them.
	usedEvery = time.Hour
)

// PutFile implements attach.Store. One that is there is not sent again.
func (v Files) PutFile(ctx context.Context, f attach.File, content []byte, by job.ID) error {
	return coded("storing a file", v.s.transact(ctx, "put_file", func(x *tx) error {
		if by != "" {
			use := columns("file text, job_id uuid")
			use.add(f.ID, string(by))
			if err := x.useFiles(ctx, use); err != nil {
				return err
			}
		}
		there := false
		err := x.rows(ctx, nil, `UPDATE files SET used_at = {now} WHERE id = ? RETURNING id`,
			func(rows *sql.Rows) error { there = true; return rows.Scan(new(string)) }, f.ID)
		if err != nil || there {
			return err
		}
		row := columns("id text, size bigint, content_type text, owner text")
		row.add(f.ID, f.Size, clean(f.ContentType), clean(f.Owner))
		err = x.exec(ctx, row, `
			INSERT INTO files (id, size, content_type, owner, created_at, used_at)
			SELECT v.id, v.size, v.content_type, v.owner, {now}, {now} FROM {v} WHERE true
			ON CONFLICT (id) DO UPDATE SET used_at = excluded.used_at`)
		if err != nil {
			return err
		}
		chunks := columns("file text, n bigint, data bytea")
		n := int64(0)
		for data := range slices.Chunk(content, chunkSize) {
			chunks.add(f.ID, n, data)
			n++
		}
		return x.exec(ctx, chunks, `
			INSERT INTO file_chunks (file, n, data) SELECT v.file, v.n, v.data FROM {v} WHERE true
			ON CONFLICT (file, n) DO NOTHING`)
	}))
}

// UseFiles implements attach.Store.
func (v Files) UseFiles(ctx context.Context, uses []attach.Use) (found map[string]attach.File, err error) {
	// In their order, so that two transactions cannot wait for each other.
	uses = slices.Clone(uses)
	slices.SortFunc(uses, func(a, b attach.Use) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		return strings.Compare(string(a.Job), string(b.Job))
	})
	uses = slices.Compact(uses)
	named := columns("id text")
	for i, u := range uses {
		if i == 0 || u.File != uses[i-1].File {
			named.add(u.File)
		}
	}
	err = v.s.transact(ctx, "use_files", func(x *tx) error {
		if found, err = x.touchFiles(ctx, named); err != nil {
			return err
		}
		t := columns("file text, job_id uuid")
		for _, u := range uses {
			if _, there := found[u.File]; there {
				t.add(u.File, string(u.Job))
			}
		}
		return x.useFiles(ctx, t)
	})
	return found, coded("looking for files", err)
}

func (x *tx) useFiles(ctx context.Context, uses *table) error {
	return x.exec(ctx, uses, `
		INSERT INTO file_uses (file, job_id, at) SELECT v.file, v.job_id, {now} FROM {v} WHERE true
		ON CONFLICT (file, job_id) DO NOTHING`)
}

// touchFiles returns those of the files that are there, and keeps them from
// being deleted: by an erasure until the transaction ends, when their uses are
// there to be seen. One whose time is nearly over may be about to be pruned: only
// who could write its row knows that it is there.
func (x *tx) touchFiles(ctx context.Context, named *table) (map[string]attach.File, error) {
	found := map[string]attach.File{}
	old := columns("id text")
	scan := func(rows *sql.Rows) error {
		var f attach.File
		var age int64
		if err := rows.Scan(&f.ID, &f.Size, &f.ContentType, &f.Owner, &age); err != nil {
			return err
		}
		if age >= usedEvery.Milliseconds() {
			old.add(f.ID)
			return nil
		}
		found[f.ID] = f
		return nil
	}
	lock := ""
	if x.s.postgres {
		lock = " FOR KEY SHARE"
	}
	err := x.rows(ctx, named, `
		SELECT id, size, content_type, owner, {now} - used_at FROM files WHERE id IN (SELECT v.id FROM {v}) ORDER BY id`+lock, scan)
	if err != nil {
		return nil, err
	}
	stale := old
	old = columns("id text")
	return found, x.rows(ctx, stale, `
		UPDATE files SET used_at = {now} FROM {v} WHERE files.id = v.id
		RETURNING files.id, files.size, files.content_type, files.owner, 0`, scan)
}

// FindFiles implements attach.Store.
func (v Files) FindFiles(ctx context.Context, ids []string) (map[string]attach.File, error) {
	named := columns("id text")
	for _, id := range ids {
		named.add(id)
	}
	found := map[string]attach.File{}
	return found, v.s.askOf(ctx, "looking for files", named, `
		SELECT id, size, content_type, owner FROM files WHERE id IN (SELECT v.id FROM {v})`,
		func(rows *sql.Rows) error {
			var f attach.File
			err := rows.Scan(&f.ID, &f.Size, &f.ContentType, &f.Owner)
			found[f.ID] = f
			return err
		})
}

// ReadFile implements attach.Store.
func (v Files) ReadFile(ctx context.Context, f attach.File) ([]byte, error) {
	content := make([]byte, 0, f.Size)
	err := v.s.ask(ctx, "reading a file", `SELECT data FROM file_chunks WHERE file = ? ORDER BY n`,
		func(rows *sql.Rows) error {
			var data sql.RawBytes
			err := rows.Scan(&data)
			content = append(content, data...)
			return err
		}, f.ID)
	if err == nil && len(content) == 0 { // an empty one is not stored
		err = job.Errorf(job.CodeNotFound, "there is no file %s", f.ID)
	}
	return content, err
}

// PruneFiles implements attach.Store. What is to go is looked for outside of the
// transaction that deletes it: a use that is over stays so, and of a file it is
// asked once more.
func (v Files) PruneFiles(ctx context.Context, limit int) (int, error) {
	unused := attach.MinUnused.Milliseconds()
	over := columns("file text, job_id uuid")
	err := v.s.ask(ctx, "looking for uses of files that are over", `
		SELECT u.file, u.job_id FROM file_uses u LEFT JOIN jobs ON jobs.id = u.job_id
		WHERE u.at <= {now} - ? AND jobs.payload IS NULL LIMIT ?`,
		func(rows *sql.Rows) error {
			var file, id string
			err := rows.Scan(&file, &id)
			over.add(file, id)
			return err
		}, unused, limit)
	if err != nil {
		return 0, err
	}
	gone := columns("file text")
	err = v.s.transact(ctx, "prune_files", func(x *tx) error {
		gone = columns("file text")
		if err := x.exec(ctx, over, `DELETE FROM file_uses WHERE (file, job_id) IN (SELECT v.file, v.job_id FROM {v})`); err != nil {
			return err
		}
		err := x.rows(ctx, nil, `
			DELETE FROM files WHERE used_at <= {now} - ? AND id IN (
				SELECT id FROM files WHERE used_at <= {now} - ?
				AND NOT EXISTS (SELECT 1 FROM file_uses u WHERE u.file = files.id) ORDER BY used_at LIMIT ?)
			RETURNING id`,
			func(rows *sql.Rows) error {
				var id string
				err := rows.Scan(&id)
				gone.add(id)
				return err
			}, unused, unused, limit)
		if err != nil {
			return err
		}
		return x.exec(ctx, gone, `DELETE FROM file_chunks WHERE file IN (SELECT v.file FROM {v})`)
	})
	return max(len(over.rows), len(gone.rows)), coded("deleting files", err)
}
