package operator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

type sendEmail struct {
	remote
	To       []string      `required:"" help:"Who gets it; each a mail of their own."`
	Subject  string        `required:"" help:"Its subject."`
	Text     string        `help:"Its text; - reads it from the standard input."`
	HTMLFile string        `name:"html-file" placeholder:"FILE" help:"A file with its HTML."`
	Delay    time.Duration `help:"Send it that much later, such as 10m."`
	Priority string        `help:"bulk sends it behind what people wait for."`
}

func (s sendEmail) Run(c *call) error {
	body := map[string]any{"to": s.To, "subject": s.Subject}
	if s.Text == "-" {
		text, err := io.ReadAll(c.Stdin)
		if err != nil {
			return fmt.Errorf("reading the text: %w", err)
		}
		s.Text = string(text)
	}
	if s.Text != "" {
		body["text"] = s.Text
	}
	if s.HTMLFile != "" {
		html, err := os.ReadFile(s.HTMLFile)
		if err != nil {
			return fmt.Errorf("reading the HTML: %w", err)
		}
		body["html"] = string(html)
	}
	if s.Delay > 0 {
		body["delay"] = s.Delay.Milliseconds()
	}
	if s.Priority != "" {
		body["priority"] = s.Priority
	}
	var raw json.RawMessage
	if err := s.ask(c, http.MethodPost, "/jobs/send-email", body, &raw); err != nil {
		return err
	}
	if s.JSON {
		return printJSON(c.Stdout, raw)
	}
	var answer struct {
		Message string `json:"message"`
		ID      string `json:"id"`
		Jobs    []struct {
			ID string `json:"id"`
		} `json:"jobs"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("reading Postrider's answer: %w", err)
	}
	fmt.Fprintln(c.Stdout, answer.Message)
	if answer.ID != "" {
		fmt.Fprintln(c.Stdout, answer.ID)
	}
	for _, j := range answer.Jobs {
		fmt.Fprintln(c.Stdout, j.ID)
	}
	return nil
}
