package operator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"
)

type jobs struct {
	List   listJobs   `cmd:"" help:"List jobs, newest first."`
	Show   showJob    `cmd:"" help:"Show a job and its history."`
	Retry  retryJobs  `cmd:"" help:"Give jobs that ended without success another life."`
	Cancel cancelJobs `cmd:"" help:"Cancel jobs."`
}

// jobView is what is shown of the API's job; -json shows all of it.
type jobView struct {
	ID          string    `json:"id"`
	Type        string    `json:"type"`
	Queue       string    `json:"queue"`
	State       string    `json:"state"`
	Recipient   string    `json:"recipient"`
	CreatedAt   time.Time `json:"created_at"`
	RunAt       time.Time `json:"run_at"`
	Attempts    int       `json:"attempts"`
	MaxAttempts int       `json:"max_attempts"`
	Message     string    `json:"message"`
	Events      []struct {
		At      time.Time `json:"at"`
		Kind    string    `json:"kind"`
		State   string    `json:"state"`
		Worker  string    `json:"worker"`
		Actor   string    `json:"actor"`
		Message string    `json:"message"`
	} `json:"events"`
}

const clock = "2006-01-02 15:04:05"

type listJobs struct {
	remote
	State     string `help:"Only those in this state: scheduled, queued, retrying, running, held, done, failed, cancelled, expired, suppressed."`
	Type      string `help:"Only those of this type, such as email:send."`
	Queue     string `help:"Only those of this queue."`
	Recipient string `help:"Only those for this address or stream."`
	Since     string `help:"Only those accepted since: a time such as 2026-07-01T09:30:00Z, or so long ago, such as 24h."`
	Limit     int    `default:"50" help:"How many, 500 at most."`
	Cursor    string `help:"Go on behind this page."`
}

func (l listJobs) Run(c *call) error {
	q := url.Values{"limit": {strconv.Itoa(l.Limit)}}
	for name, value := range map[string]string{
		"state": l.State, "type": l.Type, "queue": l.Queue, "recipient": l.Recipient, "cursor": l.Cursor,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	since, err := readTime("--since", l.Since)
	if err != nil {
		return err
	}
	if since != "" {
		q.Set("since", since)
	}
	var raw json.RawMessage
	if err := l.ask(c, http.MethodGet, "/jobs?"+q.Encode(), nil, &raw); err != nil {
		return err
	}
	if l.JSON {
		return printJSON(c.Stdout, raw)
	}
	var page struct {
		Jobs       []jobView `json:"jobs"`
		NextCursor string    `json:"next_cursor"`
	}
	if err := json.Unmarshal(raw, &page); err != nil {
		return fmt.Errorf("reading Postrider's answer: %w", err)
	}
	tw := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "ID\tSTATE\tTYPE\tQUEUE\tRECIPIENT\tACCEPTED\tATTEMPTS")
	for _, j := range page.Jobs {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%d/%d\n",
			j.ID, j.State, j.Type, j.Queue, j.Recipient, j.CreatedAt.Local().Format(clock), j.Attempts, j.MaxAttempts)
	}
	if page.NextCursor != "" {
		fmt.Fprintf(tw, "more: --cursor %s\n", page.NextCursor)
	}
	return tw.Flush()
}

type showJob struct {
	remote
	ID string `arg:"" help:"The job."`
}

func (s showJob) Run(c *call) error {
	var raw json.RawMessage
	if err := s.ask(c, http.MethodGet, "/jobs/"+url.PathEscape(s.ID), nil, &raw); err != nil {
		return err
	}
	if s.JSON {
		return printJSON(c.Stdout, raw)
	}
	var j jobView
	if err := json.Unmarshal(raw, &j); err != nil {
		return fmt.Errorf("reading Postrider's answer: %w", err)
	}
	return j.print(c.Stdout)
}

func (j jobView) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "job\t%s\ntype\t%s\nqueue\t%s\nstate\t%s\nrecipient\t%s\naccepted\t%s\nto run\t%s\nattempts\t%d of %d\nlast word\t%s\n",
		j.ID, j.Type, j.Queue, j.State, j.Recipient,
		j.CreatedAt.Local().Format(clock), j.RunAt.Local().Format(clock), j.Attempts, j.MaxAttempts, j.Message)
	if len(j.Events) > 0 {
		fmt.Fprintln(tw, "\nAT\tEVENT\tSTATE\tBY\tMESSAGE")
	}
	for _, e := range j.Events {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", e.At.Local().Format(clock), e.Kind, e.State, e.Worker+e.Actor, e.Message)
	}
	return tw.Flush()
}

type cancelJobs struct {
	remote
	IDs []string `arg:"" name:"id" help:"The jobs."`
}

func (r cancelJobs) Run(c *call) error {
	return r.each(c, r.IDs, http.MethodDelete, "")
}

// each does the same to each job; one that is refused does not keep the others
// from being done.
func (r remote) each(c *call, ids []string, method, suffix string) error {
	var errs []error
	answers := []json.RawMessage{}
	for _, id := range ids {
		var raw json.RawMessage
		var j jobView
		err := r.ask(c, method, "/jobs/"+url.PathEscape(id)+suffix, nil, &raw)
		if err == nil {
			err = json.Unmarshal(raw, &j)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("job %s: %w", id, err))
			continue
		}
		answers = append(answers, raw)
		if !r.JSON {
			fmt.Fprintf(c.Stdout, "%s is %s\n", j.ID, j.State)
		}
	}
	if r.JSON {
		errs = append(errs, printJSON(c.Stdout, answers))
	}
	return errors.Join(errs...)
}
