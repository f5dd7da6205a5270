package store_test

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/postrider/postrider/internal/apikey"
	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

// What is asked for is done once, also where nobody knows whether it was, and is
// in the audit.
func TestAPIKeys(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		var mu sync.Mutex
		lost := map[string]bool{}
		s := open(t, url, store.Options{Fault: func(op, point string) error {
			mu.Lock()
			defer mu.Unlock()
			if (op == "create_key" || op == "revoke_key") && point == "committed" && !lost[op] {
				lost[op] = true
				return driver.ErrBadConn
			}
			return nil
		}})
		keys, ctx := s.APIKeys(), t.Context()
		log := audit.New(s.Audit(), testkit.Logger(t))
		create := func(name string, hash byte, most int) (apikey.Key, error) {
			var made apikey.Key
			err := log.Do(ctx, audit.Act{Actor: "boss", Action: audit.KeyCreate, Target: name, Count: 1}, func(ctx context.Context) (err error) {
				made, err = keys.CreateKey(ctx, apikey.Key{Name: name, Scopes: []auth.Scope{auth.JobsRead, auth.Admin}, Hint: "pr_abcde", CreatedBy: "boss"}, apikey.Hash{hash}, most)
				return err
			})
			return made, err
		}
		made, err := create("b", 1, 2)
		if err != nil || made.Name != "b" || fmt.Sprint(made.Scopes) != "[jobs:read admin]" || made.CreatedAt.IsZero() || made.CreatedBy != "boss" {
			t.Errorf("made is %+v: %v", made, err)
		}
		if _, err := create("b", 2, 2); job.CodeOf(err) != job.CodeConflict {
			t.Errorf("a name that is taken: %v", err)
		}
		if _, err := create("B", 3, 2); err != nil {
			t.Error(err)
		}
		if _, err := create("c", 4, 2); job.CodeOf(err) != job.CodeConflict {
			t.Errorf("one too many: %v", err)
		}
		if found, err := keys.FindKey(ctx, apikey.Hash{1}); err != nil || found.Name != "b" {
			t.Errorf("found is %+v: %v", found, err)
		}
		if _, err := keys.FindKey(ctx, apikey.Hash{2}); job.CodeOf(err) != job.CodeNotFound {
			t.Errorf("another secret: %v", err)
		}
		if all, err := keys.Keys(ctx); err != nil || len(all) != 2 || all[0].Name != "B" || all[1].Name != "b" {
			t.Errorf("listed are %+v: %v", all, err)
		}
		for range 2 {
			if err := keys.TouchKey(ctx, "b"); err != nil {
				t.Error(err)
			}
		}
		if found, _ := keys.FindKey(ctx, apikey.Hash{1}); found.LastUsedAt.IsZero() {
			t.Error("its use is not noted")
		}
		revoke := func() error {
			return log.Do(ctx, audit.Act{Actor: "boss", Action: audit.KeyRevoke, Target: "b", Count: 1}, func(ctx context.Context) error { return keys.RevokeKey(ctx, "b") })
		}
		if err := revoke(); err != nil {
			t.Error(err)
		}
		if err := revoke(); job.CodeOf(err) != job.CodeNotFound {
			t.Errorf("revoked twice: %v", err)
		}
		if _, err := keys.FindKey(ctx, apikey.Hash{1}); job.CodeOf(err) != job.CodeNotFound {
			t.Errorf("revoked it is found: %v", err)
		}
		if !lost["create_key"] || !lost["revoke_key"] {
			t.Errorf("lost were %v", lost)
		}
		got := strings.Join(audited(t, s, audit.Filter{Target: "b"}), "\n")
		if want := "boss key.create 1 done\nboss key.create 0 conflict\nboss key.revoke 1 done\nboss key.revoke 0 not_found"; got != want {
			t.Errorf("the audit has\n%s\nwant\n%s", got, want)
		}
	})
}
