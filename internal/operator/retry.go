package operator

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"text/tabwriter"
	"time"
)

type retryJobs struct {
	remote
	IDs       []string `arg:"" optional:"" name:"id" help:"The jobs; or none, and flags that choose them."`
	State     string   `help:"All that are in this state: failed, cancelled, expired, suppressed. Only counts them, unless --yes is given."`
	Type      string   `help:"Only those of this type, such as email:send."`
	Queue     string   `help:"Only those of this queue."`
	Recipient string   `help:"Only those for this address or stream."`
	Code      string   `help:"Only those that ended so: temporary, permanent, suppressed, expired, cancelled, ambiguous, internal."`
	Since     string   `help:"Only those accepted since: a time such as 2026-07-01T09:30:00Z, or so long ago, such as 24h."`
	Until     string   `help:"Only those accepted before: likewise."`
	Limit     int      `help:"How many at most; all when left out."`
	Yes       bool     `help:"Do it."`
}

// retryPage is the most that one request is asked to retry.
const retryPage = 10_000

// retryRequest is the body of POST /jobs/retry.
type retryRequest struct {
	State     string `json:"state"`
	Type      string `json:"type,omitempty"`
	Queue     string `json:"queue,omitempty"`
	Recipient string `json:"recipient,omitempty"`
	Code      string `json:"code,omitempty"`
	Since     string `json:"since,omitempty"`
	Until     string `json:"until,omitempty"`
	Limit     int    `json:"limit,omitempty"`
	Cursor    string `json:"cursor,omitempty"`
	DryRun    bool   `json:"dry_run"`
}

// retryAnswer is its answer.
type retryAnswer struct {
	Matched    int       `json:"matched"`
	Retried    int       `json:"retried"`
	Passed     int       `json:"passed"`
	Sample     []jobView `json:"sample"`
	NextCursor string    `json:"next_cursor"`
}

func (r retryJobs) Run(c *call) error {
	req, err := r.request()
	switch {
	case err != nil:
		return err
	case len(r.IDs) > 0:
		return r.each(c, r.IDs, http.MethodPost, "/retry")
	case r.Yes:
		return r.all(c, req)
	}
	return r.count(c, req)
}

// request checks that either ids or flags choose the jobs.
func (r retryJobs) request() (retryRequest, error) {
	req := retryRequest{State: r.State, Type: r.Type, Queue: r.Queue, Recipient: r.Recipient, Code: r.Code}
	chosen := req != (retryRequest{}) || r.Since != "" || r.Until != "" || r.Limit != 0 || r.Yes
	switch {
	case len(r.IDs) > 0 && chosen:
		return req, usagef("give the ids of jobs, or flags that choose them, not both")
	case len(r.IDs) == 0 && r.State == "":
		return req, usagef("give the ids of jobs, or --state")
	case r.Limit < 0:
		return req, usagef("--limit must not be negative")
	}
	for _, bound := range []struct {
		flag, text string
		into       *string
	}{{"--since", r.Since, &req.Since}, {"--until", r.Until, &req.Until}} {
		at, err := readTime(bound.flag, bound.text)
		if err != nil {
			return req, err
		}
		*bound.into = at
	}
	return req, nil
}

// count shows what would be done.
func (r retryJobs) count(c *call, req retryRequest) error {
	req.DryRun = true
	var raw json.RawMessage
	if err := r.ask(c, http.MethodPost, "/jobs/retry", req, &raw); err != nil {
		return err
	}
	if r.JSON {
		return printJSON(c.Stdout, raw)
	}
	var out retryAnswer
	if err := json.Unmarshal(raw, &out); err != nil {
		return fmt.Errorf("reading Postrider's answer: %w", err)
	}
	if out.Matched == 0 {
		fmt.Fprintln(c.Stdout, "No job is chosen.")
		return nil
	}
	tw := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "ID\tTYPE\tRECIPIENT\tACCEPTED\tLAST WORD")
	for _, j := range out.Sample {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", j.ID, j.Type, j.Recipient, j.CreatedAt.Local().Format(clock), j.Message)
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("printing the jobs: %w", err)
	}
	fmt.Fprintf(c.Stdout, "%d in all. Nothing was changed: --yes retries them.\n", out.Matched)
	return nil
}

// all retries, a request after the other, until none is left or the limit is
// reached.
func (r retryJobs) all(c *call, req retryRequest) error {
	var total retryAnswer
	for more := true; more; {
		req.Limit = retryPage
		if r.Limit > 0 {
			req.Limit = min(retryPage, r.Limit-total.Matched)
		}
		var page retryAnswer
		if err := r.ask(c, http.MethodPost, "/jobs/retry", req, &page); err != nil {
			return errors.Join(err, fmt.Errorf("%d jobs were retried before that; run this again for the others", total.Retried))
		}
		total.Matched += page.Matched
		total.Retried += page.Retried
		total.Passed += page.Passed
		req.Cursor = page.NextCursor
		more = page.NextCursor != "" && (r.Limit == 0 || total.Matched < r.Limit)
	}
	if r.JSON {
		return printJSON(c.Stdout, map[string]int{"retried": total.Retried, "passed": total.Passed})
	}
	fmt.Fprintf(c.Stdout, "%d jobs run again", total.Retried)
	if total.Passed > 0 {
		fmt.Fprintf(c.Stdout, ", %d cannot", total.Passed)
	}
	fmt.Fprintln(c.Stdout)
	return nil
}

// readTime reads a flag's time, absolute or so long ago, as the API takes it.
func readTime(flag, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if ago, agoErr := time.ParseDuration(text); agoErr == nil {
		at, err = time.Now().Add(-ago), nil
	}
	if err != nil {
		return "", usagef("%s %q is neither a time such as 2026-07-01T09:30:00Z nor a duration such as 24h", flag, text)
	}
	return at.UTC().Format(time.RFC3339), nil
}
