package app

import (
	"database/sql"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

// What an api process asks of Redis and SQL grows when somebody watches the
// numbers, and not with how many do. It counts what the servers were asked, which
// takes a minute, with POSTRIDER_TEST_ALL=1 alone; without it the rule is that of
// TestOneLookASecondHoweverManyWatch in internal/numbers.
func TestNumbersCost(t *testing.T) {
	if os.Getenv("POSTRIDER_TEST_ALL") == "" {
		return
	}
	const over = 20 * time.Second
	server, database := testkit.Redis(t), testkit.Postgres(t)
	a := boot(t, API, "DATABASE_URL="+database, "REDIS_URL=redis://"+server.Addr+"/0", "SMTP_URL=smtp://127.0.0.1:1")
	db, err := sql.Open("pgx", database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	rdb := server.Client()
	count := func() (commands, statements float64) {
		info, err := rdb.Info(t.Context(), "stats").Result()
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(info, "total_commands_processed:")
		line, _, _ := strings.Cut(rest, "\r\n")
		if commands, err = strconv.ParseFloat(line, 64); err != nil {
			t.Fatal(err)
		}
		if err := db.QueryRowContext(t.Context(), "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()").Scan(&statements); err != nil {
			t.Fatal(err)
		}
		return commands, statements
	}
	perSecond := func() (commands, statements float64) {
		c, s := count()
		began := time.Now()
		time.Sleep(over) // it is what is measured
		c2, s2 := count()
		took := time.Since(began).Seconds()
		return (c2 - c) / took, (s2 - s) / took
	}
	got := map[int][2]float64{}
	for watchers := 0; ; {
		c, s := perSecond()
		got[watchers] = [2]float64{c, s}
		t.Logf("%2d watchers: %5.1f commands of Redis and %4.1f statements of SQL a second", watchers, c, s)
		if watchers == 50 {
			break
		}
		more := max(1, 49*watchers)
		for range more {
			watch(t, a.Addr(), "/socket.io/", "", nil).next("history")
		}
		watchers += more
	}
	for i, what := range []string{"commands of Redis", "statements of SQL"} {
		if got[50][i] > got[1][i]*1.5+3 {
			t.Errorf("with 50 watchers there are %s, with one %s", fmt.Sprintf("%.1f %s a second", got[50][i], what), fmt.Sprintf("%.1f", got[1][i]))
		}
	}
}
