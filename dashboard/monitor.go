package dashboard

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/hibiken/asynqmon"

	"github.com/postrider/postrider/internal/job"
)

// monitor is asynqmon with our guards around it: viewers only read, addresses
// are masked for them, and what acts on durable tasks goes through the domain.
type monitor struct {
	d             *Dashboard
	admin, viewer monitorSide
	answers       *answers
}

// monitorSide is asynqmon as one role has it.
type monitorSide struct {
	handler *asynqmon.HTTPHandler
	index   string // the page, with noncePlace where the nonce goes
	scripts string // sources of its inline scripts, for the policy
}

// noncePlace stands in the page for the nonce of one answer.
const noncePlace = "postrider-nonce"

func newMonitor(d *Dashboard) (*monitor, error) {
	m := &monitor{d: d, answers: newAnswers()}
	var err error
	if m.admin, err = newMonitorSide(d, false); err != nil {
		return nil, err
	}
	if m.viewer, err = newMonitorSide(d, true); err != nil {
		return nil, err
	}
	return m, nil
}

func newMonitorSide(d *Dashboard, readOnly bool) (monitorSide, error) {
	s := monitorSide{handler: asynqmon.New(asynqmon.Options{
		RootPath: queueRoot, RedisConnOpt: lent{d.Redis}, ReadOnly: readOnly, PrometheusAddress: shownAddress(d.Prometheus),
		PayloadFormatter: asynqmon.PayloadFormatterFunc(func(typ string, payload []byte) string {
			switch {
			case len(payload) == 0:
				return "" // a durable job's: its summary takes the place
			case readOnly:
				return "(hidden from viewers)"
			}
			return asynqmon.DefaultPayloadFormatter.FormatPayload(typ, payload)
		}),
	})}
	r, err := http.NewRequest(http.MethodGet, queueRoot, nil)
	if err != nil {
		return s, fmt.Errorf("asking for its page: %w", err)
	}
	got := record(s.handler, r)
	if got.status != http.StatusOK {
		return s, fmt.Errorf("its page answers %d", got.status)
	}
	err = s.takeIndex(got.body.String())
	return s, err
}

var (
	inlineScript = regexp.MustCompile(`(?s)<script>(.*?)</script>`)
	// Fonts from elsewhere, which it can do without; and the manifest, which
	// browsers ask for without the session's cookie.
	needless = regexp.MustCompile(`<link rel="(stylesheet" href="https://|manifest")[^>]*>`)
)

// wayBack leads from asynqmon's pages to ours.
const wayBack = `<style nonce="` + noncePlace + `">#postrider{position:fixed;top:20px;right:24px;z-index:1300;` +
	`font:16px/24px system-ui,sans-serif;color:#4379ff;text-decoration:none}</style>` +
	`<a id="postrider" href="` + root + `">← Postrider</a>`

// takeIndex makes asynqmon's page fit for a strict policy: its inline scripts
// are named by their hashes, and its style library (JSS) is told the nonce by
// the meta element that it looks for.
func (s *monitorSide) takeIndex(page string) error {
	scripts := inlineScript.FindAllStringSubmatch(page, -1)
	if len(scripts) == 0 || !strings.Contains(page, "<head>") {
		return fmt.Errorf("its page has changed: %d inline scripts", len(scripts))
	}
	for _, script := range scripts {
		sum := sha256.Sum256([]byte(script[1]))
		s.scripts += " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	page = needless.ReplaceAllString(page, "")
	page = strings.Replace(page, "<head>", `<head><meta property="csp-nonce" content="`+noncePlace+`"/>`, 1)
	s.index = strings.Replace(page, "</body>", wayBack+"</body>", 1)
	return nil
}

func (m *monitor) side(admin bool) monitorSide {
	if admin {
		return m.admin
	}
	return m.viewer
}

// ServeHTTP serves who is logged in.
func (m *monitor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	side := m.side(userOf(r).Admin())
	api, isAPI := strings.CutPrefix(r.URL.Path, queueRoot+"/api/")
	switch {
	case isAPI && r.Method == http.MethodGet:
		m.read(w, r, side, api)
	case isAPI:
		m.write(w, r, side, api)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		m.d.refuse(w, r, job.Errorf(job.CodeNotFound, "there is no such page"))
	case path.Ext(r.URL.Path) != "":
		serveStatic(w, r, side)
	default:
		side.servePage(w)
	}
}

func (s monitorSide) servePage(w http.ResponseWriter) {
	nonce := rand.Text()
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'"+s.scripts+"; style-src 'nonce-"+nonce+"'; "+
		"img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte(strings.ReplaceAll(s.index, noncePlace, nonce)))
}

// staticTypes are the media types of asynqmon's files. asynqmon guesses them,
// for some wrongly, and we forbid browsers to.
var staticTypes = map[string]string{
	".js": "text/javascript; charset=utf-8", ".json": "application/json", ".map": "application/json",
	".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon", ".txt": "text/plain; charset=utf-8",
}

func serveStatic(w http.ResponseWriter, r *http.Request, side monitorSide) {
	kind, known := staticTypes[path.Ext(r.URL.Path)]
	if !known {
		http.NotFound(w, r)
		return
	}
	got := record(side.handler, r)
	if got.status != http.StatusOK || got.header.Get("Content-Type") == "" {
		http.NotFound(w, r) // asynqmon answers with its page for what it does not have
		return
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(got.body.Len()))
	if strings.HasPrefix(r.URL.Path, queueRoot+"/static/") {
		h.Set("Cache-Control", "private, max-age=31536000, immutable") // their names hold a hash
	}
	_, _ = w.Write(got.body.Bytes())
}
