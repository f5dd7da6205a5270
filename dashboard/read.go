package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/job"
)

const (
	// largestPage is the most tasks that asynqmon lists at a time; its pages
	// ask for 100 at most.
	largestPage = 100
	// lookupLimit bounds the look into SQL for the jobs of one answer.
	lookupLimit = 2 * time.Second
	// lookups are made side by side.
	lookups = 8
)

// read answers a GET of asynqmon's API: what asynqmon answers, with each
// durable task's job summed up where its payload would stand, and for viewers
// with all mail addresses masked.
func (m *monitor) read(w http.ResponseWriter, r *http.Request, side monitorSide, api string) {
	if api == "metrics" {
		if m.d.Prometheus == nil {
			http.NotFound(w, r)
			return
		}
		m.chartsOf(w, r)
		return
	}
	query := r.URL.Query()
	if size, err := strconv.Atoi(query.Get("size")); err == nil && (size < 1 || size > largestPage) {
		query.Set("size", strconv.Itoa(largestPage))
	}
	ask := r.Clone(context.WithoutCancel(r.Context())) // others may wait for the answer too
	ask.URL.RawQuery = query.Encode()
	admin := userOf(r).Admin()
	key := fmt.Sprint(admin, " ", ask.URL.Path, "?", ask.URL.RawQuery)
	got := m.answers.get(key, func() *recorded {
		got := record(side.handler, ask)
		m.complete(ask.Context(), got, admin)
		return got
	})
	h := w.Header()
	h.Set("Content-Type", got.header.Get("Content-Type"))
	w.WriteHeader(got.status)
	_, _ = w.Write(got.body.Bytes())
}

// complete rewrites an answer in place.
func (m *monitor) complete(ctx context.Context, got *recorded, admin bool) {
	d := json.NewDecoder(bytes.NewReader(got.body.Bytes()))
	d.UseNumber()
	var tree any
	if got.status != http.StatusOK || d.Decode(&tree) != nil {
		text := got.body.String()
		if !admin {
			text = mask(text)
		}
		got.body.Reset()
		got.body.WriteString(text)
		got.header.Set("Content-Type", "text/plain; charset=utf-8")
		return
	}
	m.sumUp(ctx, durableTasks(tree, nil), admin)
	if !admin {
		tree = maskTree(tree)
	}
	got.body.Reset()
	if err := json.NewEncoder(&got.body).Encode(tree); err != nil {
		m.d.log.Error("an answer of asynqmon could not be written", "err", err)
		got.status = http.StatusInternalServerError
	}
	got.header.Set("Content-Type", "application/json")
}

// payloadOf names where asynqmon puts a task's payload, by where its id stands.
var payloadOf = map[string]string{"id": "payload", "task_id": "task_payload"}

// taskRef is a durable task in an answer.
type taskRef struct {
	id     job.ID
	object map[string]any
	field  string // for the summary
}

// durableTasks collects the tasks in an answer that have no payload.
func durableTasks(tree any, found []taskRef) []taskRef {
	switch v := tree.(type) {
	case []any:
		for _, e := range v {
			found = durableTasks(e, found)
		}
	case map[string]any:
		for idField, field := range payloadOf {
			taskID, _ := v[idField].(string)
			if payload, ok := v[field].(string); !ok || payload != "" {
				continue
			}
			if id, _, err := job.ParseTaskID(taskID); err == nil {
				found = append(found, taskRef{id, v, field})
			}
		}
		for _, e := range v {
			found = durableTasks(e, found)
		}
	}
	return found
}

// sumUp writes into each task what its job is. What SQL does not tell in time
// stays empty.
func (m *monitor) sumUp(ctx context.Context, tasks []taskRef, admin bool) {
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	now, err := m.d.Jobs.Now(ctx)
	if err != nil {
		m.d.log.Warn("asynqmon's tasks lack their jobs", "err", err)
		return
	}
	summaries := make([]string, len(tasks))
	eachOf(len(tasks), lookups, func(i int) {
		j, err := m.d.Jobs.Find(ctx, tasks[i].id)
		switch {
		case err == nil:
			summaries[i] = summary(&j, now, admin)
		case job.CodeOf(err) == job.CodeNotFound:
			summaries[i] = "(no job of this id)"
		}
	})
	for i, t := range tasks {
		t.object[t.field] = summaries[i]
	}
}

// summary is a job in a line. What a mail is about only admins may know.
func summary(j *job.Job, now time.Time, admin bool) string {
	parts := []string{j.Status(now)}
	if j.Recipient != "" {
		parts = append(parts, "to "+j.Recipient)
	}
	var content struct{ Subject string }
	if admin && json.Unmarshal(j.Payload, &content) == nil && content.Subject != "" {
		parts = append(parts, strconv.Quote(clip(content.Subject, 80)))
	}
	if j.Attempts > 0 {
		parts = append(parts, fmt.Sprintf("attempt %d of %d", j.Attempts, j.MaxAttempts))
	}
	if j.Message != "" {
		parts = append(parts, clip(j.Message, 120))
	}
	return strings.Join(parts, " · ")
}

// clip shortens text to n bytes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// maskTree masks every text in an answer.
func maskTree(tree any) any {
	switch v := tree.(type) {
	case string:
		return mask(v)
	case []any:
		for i := range v {
			v[i] = maskTree(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = maskTree(v[k])
		}
	}
	return tree
}

// eachOf calls do for 0 to n-1, most of them side by side, and waits for all.
func eachOf(n, most int, do func(i int)) {
	var wg sync.WaitGroup
	places := make(chan struct{}, most)
	for i := range n {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			do(i)
		})
	}
	wg.Wait()
}
