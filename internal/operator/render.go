package operator

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/template"
)

// render makes a mail of a template as the service would, without one.
type render struct {
	Name     string `arg:"" help:"The template."`
	Data     string `placeholder:"FILE" help:"A file with its data as JSON; - reads the standard input. Left out, it is the first example of the template's schema."`
	Locale   string `help:"The language, such as de-AT; the one that comes nearest to it is chosen."`
	Category string `placeholder:"NAME" help:"The mail's category; of one that is not essential an example of the link to unsubscribe is shown."`
	Dir      string `placeholder:"DIR" help:"The directory of templates; POSTRIDER_TEMPLATES when left out."`
	HTML     bool   `name:"html" xor:"form" help:"Print the HTML alone."`
	JSON     bool   `name:"json" xor:"form" help:"Print everything as JSON."`
}

func (r render) Run(c *call) error {
	var cfg struct {
		Templates  template.Config
		Categories mail.Categories
	}
	if _, err := config.Load(&cfg, c.Environ, nil); err != nil {
		return fmt.Errorf("reading the settings: %w", err)
	}
	if r.Dir != "" {
		cfg.Templates.Dir = r.Dir
	}
	link := ""
	if !cfg.Categories.Essential(r.Category) {
		link = template.ExampleUnsubscribeURL
	}
	library, err := template.NewLibrary(template.Options{
		Config: cfg.Templates, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		return err
	}
	if err := library.Broken()[r.Name]; err != nil {
		return fmt.Errorf("template %s: %w", r.Name, err)
	}
	t, err := library.Find(r.Name)
	if err != nil {
		return usagef("there is no template %q", r.Name)
	}
	data, err := r.data(c, t)
	if err != nil {
		return err
	}
	edition, m, err := t.Render(c.ctx, r.Locale, data, link)
	if err != nil {
		return fmt.Errorf("rendering %s: %w", r.Name, err)
	}
	switch {
	case r.HTML:
		_, err = io.WriteString(c.Stdout, m.HTML)
	case r.JSON:
		err = printJSON(c.Stdout, map[string]string{
			"subject": m.Subject, "preheader": m.Preheader, "html": m.HTML, "text": m.Text,
			"locale": edition.Locale, "hash": edition.Hash,
		})
	default:
		_, err = fmt.Fprintf(c.Stdout, "Subject: %s\nPreheader: %s\n\n%s", m.Subject, m.Preheader, m.Text)
	}
	return err
}

func (r render) data(c *call, t *template.Template) (json.RawMessage, error) {
	switch r.Data {
	case "":
		return t.Example(), nil
	case "-":
		data, err := io.ReadAll(c.Stdin)
		if err != nil {
			return nil, fmt.Errorf("reading the data: %w", err)
		}
		return data, nil
	}
	data, err := os.ReadFile(r.Data)
	if err != nil {
		return nil, fmt.Errorf("reading the data: %w", err)
	}
	return data, nil
}
