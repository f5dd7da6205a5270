package template

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/tasks"
)

// pollEvery is how often the directory is looked at for changes.
const pollEvery = 2 * time.Second

// all: or the files that begin with an underscore or a dot would be left out
// without a word.
//
//go:embed all:builtin
var embedded embed.FS

// Config names the templates of one's own.
type Config struct {
	Dir string `env:"POSTRIDER_TEMPLATES" help:"a directory of mail templates beside the built-in ones, read anew when it changes; see docs/templates.md"`
}

// Options are what a Library is made of; all are needed.
type Options struct {
	Config  Config
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Library holds the templates that new mails are made of. Its methods may be
// called by any number of goroutines.
type Library struct {
	builtin map[string]string
	dir     fs.FS // nil for none
	log     *slog.Logger
	reloads *prometheus.CounterVec
	failing *prometheus.GaugeVec

	mu    sync.RWMutex
	now   shelfful
	stamp string // of the directory's files as they were read

	stop context.CancelFunc
	wait sync.WaitGroup
}

// shelfful is what the library holds at a time.
type shelfful struct {
	templates map[string]*Template
	broken    map[string]error // by template, or "directory"
}

// NewLibrary reads the built-in templates and those of the directory, which must
// be there. A template of the directory that cannot be read is left out, logged
// and told by Check: it keeps no other mail from being sent.
func NewLibrary(o Options) (*Library, error) {
	builtin, err := fs.Sub(embedded, "builtin")
	if err != nil {
		return nil, fmt.Errorf("opening the built-in templates: %w", err)
	}
	l := &Library{
		log: o.Log.With("component", "templates"),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_template_loads_total", Help: "How often the templates were read, by whether all of them could be used: ok or broken.",
		}, []string{"result"}),
		failing: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "postrider_templates", Help: "Templates by how they are: ok, or broken since their last change.",
		}, []string{"state"}),
	}
	if l.builtin, err = read(builtin); err != nil {
		return nil, fmt.Errorf("reading the built-in templates: %w", err)
	}
	if o.Config.Dir != "" {
		l.dir = os.DirFS(o.Config.Dir)
		if _, err := list(l.dir); err != nil {
			return nil, fmt.Errorf("POSTRIDER_TEMPLATES: %w", err)
		}
	}
	for _, c := range []prometheus.Collector{l.reloads, l.failing} {
		if err := o.Metrics.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	l.refresh()
	return l, nil
}

// Start looks for changes of the directory every two seconds, until Stop. It can
// be called once.
func (l *Library) Start() {
	if l.dir == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	l.wait.Go(func() {
		tick := time.NewTicker(pollEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				l.refresh()
			}
		}
	})
}

// Stop ends what Start began. Without Start it does nothing.
func (l *Library) Stop() {
	if l.stop != nil {
		l.stop()
	}
	l.wait.Wait()
}

// refresh reads the templates anew if the directory has changed. Of a template
// that is broken now the last good version stays.
func (l *Library) refresh() {
	stamp, err := l.look()
	l.mu.RLock()
	old, known := l.now, l.stamp
	l.mu.RUnlock()
	if err == nil && stamp == known && old.templates != nil {
		return
	}
	var own map[string]string
	if err == nil && l.dir != nil {
		own, err = read(l.dir)
	}
	var next shelfful
	if err != nil && old.templates != nil {
		next = shelfful{old.templates, map[string]error{"directory": err}}
		stamp = "" // look again
	} else {
		next.templates, next.broken = build(l.builtin, own)
		if err != nil {
			next.broken["directory"] = err
		}
		for name := range next.broken {
			if t, ok := old.templates[name]; ok {
				next.templates[name] = t
			}
		}
	}
	l.tell(old.broken, next)
	l.mu.Lock()
	l.now, l.stamp = next, stamp
	l.mu.Unlock()
}

// tell logs what has become broken or well, and counts.
func (l *Library) tell(before map[string]error, now shelfful) {
	for name, err := range now.broken {
		if was := before[name]; was == nil || was.Error() != err.Error() {
			l.log.Error("a template cannot be used; its last good version, if there is one, stays", "template", name, "err", err)
		}
	}
	for name := range before {
		if now.broken[name] == nil {
			l.log.Info("a template is well again", "template", name)
		}
	}
	result := "ok"
	if len(now.broken) > 0 {
		result = "broken"
	}
	l.reloads.WithLabelValues(result).Inc()
	l.failing.WithLabelValues("ok").Set(float64(len(now.templates)))
	l.failing.WithLabelValues("broken").Set(float64(len(now.broken)))
}

// look makes a text of the directory's files that changes when they do.
func (l *Library) look() (string, error) {
	if l.dir == nil {
		return "none", nil
	}
	paths, err := list(l.dir)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, path := range paths {
		info, err := fs.Stat(l.dir, path)
		if err != nil {
			return "", fmt.Errorf("looking at %s: %w", path, err)
		}
		fmt.Fprintf(&b, "%s %d %d\n", path, info.Size(), info.ModTime().UnixNano())
	}
	return b.String(), nil
}

// Check errs with the templates that are broken; it is a telemetry.Check.
func (l *Library) Check(context.Context) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(l.Broken())) {
		errs = append(errs, fmt.Errorf("template %s: %w", name, l.Broken()[name]))
	}
	return errors.Join(errs...)
}

// Broken tells what is wrong with templates that cannot be used as they stand in
// the directory, by name; "directory" is the directory itself.
func (l *Library) Broken() map[string]error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.now.broken
}

// List returns the templates by name.
func (l *Library) List() []*Template {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var out []*Template
	for _, name := range slices.Sorted(maps.Keys(l.now.templates)) {
		out = append(out, l.now.templates[name])
	}
	return out
}

// Find returns the named template. The error is a tasks.Invalid that names
// "template".
func (l *Library) Find(name string) (*Template, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if t, ok := l.now.templates[name]; ok {
		return t, nil
	}
	if l.now.broken[name] != nil {
		return nil, tasks.Invalid{{Field: "template", Problem: "has an error in its files, which GET /templates tells"}}
	}
	return nil, tasks.Invalid{{Field: "template", Problem: "is not one that there is"}}
}
