package peers

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/postrider/postrider/internal/app"
)

// ServeHTTP runs Postrider's api process until in ends; the first line of out
// tells its address. With SQLite, which the api refuses in production, it is the
// same process all the same. The rate limits are off, as Express has none, and
// so is the access log.
func ServeHTTP(ctx context.Context, spec Spec, in io.Reader, out io.Writer) error {
	return ServeRole(ctx, app.Role{Name: "api", API: true, OneProcess: true}, []string{
		"REDIS_URL=redis://" + spec.Redis + "/0", "DATABASE_URL=" + spec.Database, "POSTRIDER_HTTP_ADDR=127.0.0.1:0",
		"POSTRIDER_LOG_LEVEL=error", "POSTRIDER_RATE_LIMIT_KEY=off", "POSTRIDER_RATE_LIMIT_ADDR=off",
	}, in, out)
}

// ServeRole runs one of Postrider's processes with the settings until in ends;
// the first line of out tells its address.
func ServeRole(ctx context.Context, role app.Role, settings []string, in io.Reader, out io.Writer) error {
	cfg, _, err := app.Load(role, settings)
	if err != nil {
		return fmt.Errorf("reading the settings of %s: %w", role.Name, err)
	}
	a, err := app.New(ctx, role, cfg, quiet())
	if err != nil {
		return fmt.Errorf("building %s: %w", role.Name, err)
	}
	err = a.Start()
	if err == nil {
		err = json.NewEncoder(out).Encode(map[string]string{"addr": a.Addr()})
	}
	for lines := bufio.NewScanner(in); err == nil && lines.Scan(); {
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	if stopErr := a.Stop(stop); err == nil {
		err = stopErr
	}
	return err
}
