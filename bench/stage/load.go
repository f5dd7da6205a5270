package stage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Load is many callers that post one body to an address again and again, each
// over a connection of its own and with the next request after the answer to the
// last. It writes the request as it stands, since an HTTP client that builds it
// anew would take its share of the machine from the server.
type Load struct {
	Addr    string // host:port
	Path    string
	Body    string // JSON
	Callers int
}

// Run lets the callers work for warm and then counts the answers of the time
// after it. Any status but 202 is an error.
func (l Load) Run(ctx context.Context, warm, counted time.Duration) (perSecond float64, err error) {
	request := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		l.Path, l.Addr, len(l.Body), l.Body)
	ctx, cancel := context.WithTimeout(ctx, warm+counted+startLimit)
	defer cancel()
	var answers atomic.Int64
	var over atomic.Bool
	failed := make(chan error, l.Callers)
	var callers sync.WaitGroup
	for range l.Callers {
		callers.Go(func() {
			if err := l.call(ctx, request, &answers, &over); err != nil {
				failed <- err
			}
		})
	}
	wait(ctx, warm)
	before, began := answers.Load(), time.Now()
	wait(ctx, counted)
	n, took := answers.Load()-before, time.Since(began)
	over.Store(true)
	callers.Wait()
	close(failed)
	return float64(n) / took.Seconds(), <-failed
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// call is one caller.
func (l Load) call(ctx context.Context, request []byte, answers *atomic.Int64, over *atomic.Bool) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", l.Addr)
	if err != nil {
		return fmt.Errorf("connecting to the server: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return fmt.Errorf("bounding a connection: %w", err)
		}
	}
	r := bufio.NewReader(conn)
	for !over.Load() && ctx.Err() == nil {
		if _, err := conn.Write(request); err != nil {
			return fmt.Errorf("posting: %w", err)
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return fmt.Errorf("reading an answer: %w", err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			return fmt.Errorf("reading an answer: %w", err)
		}
		if res.StatusCode != http.StatusAccepted {
			return errors.New(res.Status + ": " + string(body[:min(len(body), 300)]))
		}
		answers.Add(1)
	}
	return ctx.Err()
}
