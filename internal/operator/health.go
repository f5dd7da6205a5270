package operator

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/postrider/postrider/internal/app"
)

// healthLimit bounds a health check; the process's own checks take two seconds
// at most.
const healthLimit = 4 * time.Second

type healthcheck struct {
	Addr string `placeholder:"HOST:PORT" help:"Where the process serves HTTP ($POSTRIDER_HTTP_ADDR, or 127.0.0.1:8080)."`
	Live bool   `help:"Ask only whether it serves at all, not whether what it needs is there."`
	JSON bool   `name:"json" help:"Print what the process answers, as JSON."`
}

func (h healthcheck) Run(c *call) error {
	addr := h.Addr
	cfg, _, err := app.Load(app.Dev, c.Environ)
	if addr == "" {
		if addr = cfg.HTTP.Addr; addr == "" {
			return usageError{err}
		}
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return usagef("%q is not of the form host:port", addr)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // it serves on all addresses, so on this one too
	}
	path := "/readyz"
	if h.Live {
		path = "/healthz"
	}
	scheme := "http://"
	if cfg.HTTP.TLSCert != "" {
		scheme = "https://"
	}
	req, err := http.NewRequestWithContext(c.ctx, http.MethodGet, scheme+net.JoinHostPort(host, port)+path, nil)
	if err != nil {
		return fmt.Errorf("making the request: %w", err)
	}
	client := http.Client{Timeout: healthLimit, Transport: &http.Transport{
		DisableKeepAlives: true,
		// It asks by address, which few certificates are for, and tells nothing.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, //nolint:gosec
	}}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("asking the process: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("asking the process: %w", err)
	}
	if h.JSON && json.Valid(text) {
		if err := printJSON(c.Stdout, json.RawMessage(text)); err != nil {
			return err
		}
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the process is not well: %s %s", res.Status, text)
	}
	if !h.JSON {
		fmt.Fprintln(c.Stdout, "well")
	}
	return nil
}

type doctor struct {
	Role string `enum:"api,worker,scheduler,serve,dev" default:"serve" help:"Whose settings to look at: api, worker, scheduler, serve or dev."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (d doctor) Run(c *call) error {
	role := map[string]app.Role{"api": app.API, "worker": app.Worker, "scheduler": app.Scheduler, "serve": app.Serve, "dev": app.Dev}[d.Role]
	findings := app.Examine(c.ctx, role, c.Environ)
	for _, f := range findings {
		if f.Status == app.Fails {
			c.code = exitError
		}
	}
	if d.JSON {
		return printJSON(c.Stdout, findings)
	}
	tw := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
	for _, f := range findings {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", f.Status, f.What, f.Says)
		if f.Mend != "" {
			fmt.Fprintf(tw, "\t\tto mend: %s\n", f.Mend)
		}
	}
	return tw.Flush()
}
