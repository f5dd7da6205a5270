package chaos

import (
	"strings"
	"sync"
	"testing"

	"github.com/postrider/postrider/internal/testkit"
)

// Recipients whose names begin so are refused: late ones at their first mail,
// gone ones always.
const (
	late = "late"
	gone = "gone"
)

// mailServer is an SMTP server behind a proxy.
type mailServer struct {
	*testkit.SMTP
	link *testkit.FaultProxy
}

func newMailServer(t testing.TB, ip string) *mailServer {
	server := testkit.NewSMTP(t, testkit.SMTPExtension("PIPELINING"))
	var mu sync.Mutex
	met := map[string]bool{}
	server.Judge(func(recipient string) (testkit.SMTPAction, bool) {
		name, _, _ := strings.Cut(recipient, "-")
		switch name {
		case gone:
			return testkit.SMTPReply(550, "5.1.1 nobody of that name"), true
		case late:
			mu.Lock()
			defer mu.Unlock()
			known := met[recipient]
			met[recipient] = true
			return testkit.SMTPReply(451, "4.2.1 the mailbox is busy"), !known
		}
		return testkit.SMTPAction{}, false
	})
	return &mailServer{SMTP: server, link: testkit.TCPProxyOn(t, ip, server.Addr())}
}

func (m *mailServer) url() string { return "smtp://" + m.link.Addr + "?tls=none" }
