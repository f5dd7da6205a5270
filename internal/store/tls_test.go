package store_test

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

// PostgreSQL by TLS: verify-full takes the certificate of an authority of one's
// own for the host's name, and nothing else.
func TestPostgresByTLS(t *testing.T) {
	server := testkit.PostgresServer(t)
	dsn := server.Database()
	ca := server.ServeTLS()
	other, _ := testkit.Certificate(t)
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	for query, want := range map[string]bool{
		"sslmode=verify-full&sslrootcert=" + ca: true, "sslmode=verify-full&sslrootcert=" + other: false, "sslmode=verify-full": false,
	} {
		s, err := store.Open(t.Context(), store.Config{URL: strings.Replace(dsn, "sslmode=disable&", "", 1) + separator + query, AutoMigrate: true}, testkit.Logger(t), store.Options{})
		if (err == nil) != want {
			t.Errorf("%s: %v, want %t", query, err, want)
		}
		if err == nil {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	for _, query := range []string{"sslrootcert=/nowhere.pem", "sslcert=" + ca + "&sslkey=" + ca} {
		err := (store.Config{URL: "postgres://u:hunter2@h/db?sslmode=verify-full&" + query}).Validate()
		if err == nil || !strings.Contains(err.Error(), "DATABASE_URL") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", query, err)
		}
	}
}
