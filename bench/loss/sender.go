package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// team is the room that every second client is in.
const team = "team"

func inTeam(client int) bool { return client%2 == 0 }

// sent is a notification that was accepted: its message, and who is to see it.
type sent struct {
	message string
	to      func(client int) bool
}

// sender posts notifications to the processes by turns, and to the other one
// when a process does not answer, as a careful caller does.
type sender struct {
	side    *side
	clients int
	http    http.Client

	mu       sync.Mutex
	accepted []sent
	repeated int // posts that had to be sent again
	failed   error
}

// callers post at the same time.
const callers = 16

// postLimit bounds one attempt; patience, how long one notification is tried.
const (
	postLimit = 5 * time.Second
	patience  = 30 * time.Second
)

// run posts so many a second, for so long.
func (s *sender) run(ctx context.Context, rate float64, d time.Duration) {
	numbers := make(chan int)
	var posting sync.WaitGroup
	for range callers {
		posting.Go(func() {
			for n := range numbers {
				if err := s.send(ctx, n); err != nil {
					s.mu.Lock()
					s.failed = err
					s.mu.Unlock()
				}
			}
		})
	}
	began := time.Now()
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	for n := 0; time.Since(began) < d && ctx.Err() == nil; n++ {
		numbers <- n
		<-tick.C
	}
	close(numbers)
	posting.Wait()
}

// send posts the n-th: of a hundred two are for everyone, eight for the team and
// the rest for one client each.
func (s *sender) send(ctx context.Context, n int) error {
	out := sent{message: fmt.Sprint("message ", n)}
	body, room := map[string]any{"message": out.message}, ""
	switch {
	case n%50 == 7:
		body["everyone"], room = true, "everyone"
		out.to = func(int) bool { return true }
	case n%100%12 == 5:
		body["room"], room = team, "room:"+team
		out.to = inTeam
	default:
		user := n % s.clients
		body["receiverId"], room = fmt.Sprint(user), fmt.Sprint("user:", user)
		out.to = func(client int) bool { return client == user }
	}
	path := "/jobs/send-notification"
	if s.side.plain {
		path, body = "/notify", map[string]any{"room": room, "message": out.message}
	}
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding a notification: %w", err)
	}
	for tries, began := 0, time.Now(); ; tries++ {
		if err = s.post(ctx, (n+tries)%len(s.side.addrs), path, text, n); err == nil {
			break
		}
		if time.Since(began) > patience || ctx.Err() != nil {
			return err
		}
		s.mu.Lock()
		s.repeated++
		s.mu.Unlock()
		time.Sleep(20 * time.Millisecond) // the other one may be away, too
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted = append(s.accepted, out)
	return nil
}

// post tries once.
func (s *sender) post(ctx context.Context, process int, path string, body []byte, n int) error {
	addr := s.side.addr(process)
	if addr == "" {
		return fmt.Errorf("posting a notification: the process is away")
	}
	ctx, cancel := context.WithTimeout(ctx, postLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("posting a notification: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("Idempotency-Key", fmt.Sprint("loss-", n))
	resp, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("posting a notification: %w", err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("posting a notification: %w", err)
	}
	if resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("posting a notification: %s: %s", resp.Status, said)
	}
	return nil
}
