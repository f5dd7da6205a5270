package testkit_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/testkit"
)

// connect opens a connection that ends with the test.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("connecting to %s: %v", url, err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func exec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestPostgresDatabasesAreSeparate(t *testing.T) {
	for range 2 {
		exec(t, connect(t, testkit.Postgres(t)), "CREATE TABLE jobs (id int)")
	}
}

func TestPostgresDatabaseEndsWithItsTest(t *testing.T) {
	var url string
	t.Run("test", func(t *testing.T) {
		url = testkit.Postgres(t)
		connect(t, url) // an open connection must not keep the database alive
	})
	if conn, err := pgx.Connect(t.Context(), url); err == nil {
		_ = conn.Close(t.Context())
		t.Errorf("%s is still there", url)
	}
}

func TestPostgresServerOfOnesOwn(t *testing.T) {
	server := testkit.PostgresServer(t, "fsync=on")
	url := server.Database()
	conn := connect(t, url)
	exec(t, conn, "CREATE TABLE jobs (id int)")

	if n := server.DropConnections(url); n != 1 {
		t.Errorf("dropped %d connections, want 1", n)
	}
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("a dropped connection still works")
	}
	for i, end := range []func(){server.Kill, server.Stop} {
		exec(t, connect(t, url), "INSERT INTO jobs VALUES (1)")
		end()
		if c, err := pgx.Connect(t.Context(), url); err == nil {
			_ = c.Close(t.Context())
			t.Fatal("an ended server takes connections")
		}
		server.Start()
		var rows int
		if err := connect(t, url).QueryRow(t.Context(), "SELECT count(*) FROM jobs").Scan(&rows); err != nil || rows != i+1 {
			t.Errorf("after restart %d: %d rows (%v), want %d", i, rows, err, i+1)
		}
	}
	server.Stop() // the test's end must cope with a stopped one
}
