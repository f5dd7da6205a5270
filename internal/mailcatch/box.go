package mailcatch

import (
	"crypto/rand"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxMails    = 500
	maxBoxBytes = 64 << 20
)

// caught is a mail as it came. It is not changed once it is in the box.
type caught struct {
	id      string // counts up from 1
	time    time.Time
	from    string   // envelope
	to      []string // envelope
	raw     []byte
	summary summary
}

// box keeps the newest mails, within a number and a size in bytes.
type box struct {
	maxMails, maxBytes int

	mu    sync.Mutex
	mails []*caught // oldest first
	bytes int
	last  int // the id given last
	// state names the content: it changes with every add and clear, and differs
	// between processes.
	life  string
	moves int
}

func newBox(maxMails, maxBytes int) *box {
	return &box{maxMails: maxMails, maxBytes: maxBytes, life: rand.Text()}
}

// add keeps the mail, drops the oldest as the bounds demand, and returns its id.
func (b *box) add(now time.Time, from string, to []string, raw []byte) string {
	mail := &caught{time: now, from: from, to: to, raw: raw, summary: summarise(raw)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	b.moves++
	mail.id = strconv.Itoa(b.last)
	b.mails = append(b.mails, mail)
	b.bytes += len(raw)
	drop := 0
	for len(b.mails)-drop > b.maxMails || b.bytes > b.maxBytes {
		b.bytes -= len(b.mails[drop].raw)
		drop++
	}
	b.mails = slices.Delete(b.mails, 0, drop)
	return mail.id
}

// list returns the mails newest first, only those to the recipient when it is
// not empty, and the state that they were listed in.
func (b *box) list(recipient string) (mails []*caught, state string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, mail := range slices.Backward(b.mails) {
		if recipient == "" || mail.isTo(recipient) {
			mails = append(mails, mail)
		}
	}
	return mails, b.life + "-" + strconv.Itoa(b.moves)
}

func (b *box) find(id string) (*caught, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, mail := range b.mails {
		if mail.id == id {
			return mail, true
		}
	}
	return nil, false
}

func (b *box) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mails, b.bytes = nil, 0
	b.moves++
}

func (m *caught) isTo(recipient string) bool {
	return slices.ContainsFunc(m.to, func(to string) bool { return strings.EqualFold(to, recipient) })
}
