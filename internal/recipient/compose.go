package recipient

import (
	"encoding/json"
	"fmt"
	"html"
	"strings"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

const (
	// maxShown is how many items a digest shows; it says how many more there
	// are. With their bounds they fit into a payload several times.
	maxShown   = 50
	maxTitle   = 200 // characters
	maxExcerpt = 300
)

// Item makes an item of a message.
func (d Decision) Item(id job.ID, category, title, text string) Item {
	return Item{Job: id, For: d.For, Category: category, Title: excerpt(title, maxTitle), Text: excerpt(text, maxExcerpt)}
}

// excerpt is the beginning of a text in one line.
func excerpt(s string, most int) string {
	if long := 20 * most; len(s) > long { // enough of it, whatever it is made of
		s = strings.ToValidUTF8(s[:long], "")
	}
	s = strings.Join(strings.Fields(s), " ")
	if runes := []rune(s); len(runes) > most {
		return strings.TrimSpace(string(runes[:most-1])) + "…"
	}
	return s
}

// digestTemplate is the mail template that digests are made of: it takes the
// sender's name as product, and items with title and text.
const digestTemplate = "daily-digest"

// compose makes the mail that a digest is, of its template.
func compose(product, address string, c Contents) (job.Submission, error) {
	type item struct {
		Title string `json:"title"`
		Text  string `json:"text,omitempty"`
	}
	var shown []item
	for _, i := range c.Items {
		shown = append(shown, item{i.Title, i.Text})
	}
	if more := c.Total - len(c.Items); more > 0 {
		shown = append(shown, item{Title: fmt.Sprintf("and %d more", more)})
	}
	data, err := json.Marshal(map[string]any{"product": product, "items": shown})
	if err != nil {
		return job.Submission{}, fmt.Errorf("encoding a digest's items: %w", err)
	}
	return submission(tasks.Email{To: []string{address}, Category: DigestCategory, Template: digestTemplate, Data: data})
}

// plain makes the same mail without a template: one that the operator has put in
// its place may ask for what a digest does not have.
func plain(address string, c Contents) (job.Submission, error) {
	messages := "1 message"
	if c.Total != 1 {
		messages = fmt.Sprintf("%d messages", c.Total)
	}
	var text, page strings.Builder
	fmt.Fprintf(&text, "What was gathered for you: %s.\n", messages)
	fmt.Fprintf(&page, "<p>What was gathered for you: %s.</p>\n<ul>\n", messages)
	for _, item := range c.Items {
		fmt.Fprintf(&text, "\n* %s\n", item.Title)
		fmt.Fprintf(&page, "<li><strong>%s</strong>", html.EscapeString(item.Title))
		if item.Text != "" {
			fmt.Fprintf(&text, "  %s\n", item.Text)
			fmt.Fprintf(&page, "<br>%s", html.EscapeString(item.Text))
		}
		page.WriteString("</li>\n")
	}
	page.WriteString("</ul>\n")
	if more := c.Total - len(c.Items); more > 0 {
		fmt.Fprintf(&text, "\nand %d more.\n", more)
		fmt.Fprintf(&page, "<p>and %d more.</p>\n", more)
	}
	return submission(tasks.Email{
		To: []string{address}, Subject: "Your digest: " + messages, Category: DigestCategory,
		Text: text.String(), HTML: page.String(),
	})
}

func submission(e tasks.Email) (job.Submission, error) {
	payload, err := json.Marshal(e)
	if err != nil {
		return job.Submission{}, fmt.Errorf("encoding a digest's mail: %w", err)
	}
	return job.Submission{Type: tasks.EmailSend.Name, Payload: payload}, nil
}
