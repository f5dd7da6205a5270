package store_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

// A look from outside changes nothing and works while the store is open.
func TestInspect(t *testing.T) {
	for name, url := range map[string]string{
		"sqlite":   "sqlite:" + filepath.Join(t.TempDir(), "postrider.db"),
		"postgres": testkit.Postgres(t),
	} {
		t.Run(name, func(t *testing.T) {
			cfg := store.Config{URL: url, AutoMigrate: true}
			before, err := store.Inspect(t.Context(), cfg)
			if err != nil || before.Pending() == 0 || before.Pending() != len(before.Migrations) || before.Newest != 0 {
				t.Fatalf("before the first start: %+v, %v", before, err)
			}
			s, err := store.Open(t.Context(), cfg, testkit.Logger(t), store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			after, err := store.Inspect(t.Context(), cfg)
			if err != nil || after.Pending() != 0 || after.Newest != after.Migrations[len(after.Migrations)-1].Version {
				t.Errorf("while it runs: %+v, %v", after, err)
			}
			if d := time.Since(after.Now); d < -time.Minute || d > time.Minute {
				t.Errorf("its clock is %v", after.Now)
			}
		})
	}
}
