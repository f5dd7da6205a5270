package testkit

import (
	"net/smtp"
	"testing"
)

// The journal has each attempt, taken or not, and recipients are judged one by
// one.
func TestSMTPJournal(t *testing.T) {
	s := NewSMTP(t)
	s.Judge(func(recipient string) (SMTPAction, bool) {
		return SMTPReply(550, "5.1.1 nobody"), recipient == "nobody@example.com"
	})
	send := func(id string, to ...string) error {
		return smtp.SendMail(s.Addr(), nil, "a@example.com", to, []byte("Subject: x\r\nmessage-id: "+id+"\r\n\r\ntext\r\n"))
	}
	if err := send("<1@x>", "b@example.com"); err != nil {
		t.Error(err)
	}
	if err := send("<2@x>", "nobody@example.com"); err == nil {
		t.Error("a refused recipient was taken")
	}
	s.Judge(nil)
	s.On(SMTPAtConnect, SMTPClose())
	s.Once(SMTPAtMail, SMTPClose())
	s.Honest()
	s.Once(SMTPAtDot, SMTPClose().Accepting(), SMTPReply(451, "4.3.0 later"))
	for range 2 {
		if err := send("<3@x>", "nobody@example.com"); err == nil {
			t.Error("a scripted failure was a success")
		}
	}
	s.Close() // waits for the sessions
	type line struct {
		id                  string
		accepted, confirmed bool
	}
	want := []line{{"<1@x>", true, true}, {"", false, false}, {"<3@x>", true, false}, {"<3@x>", false, false}}
	got := s.Transactions()
	if len(got) != len(want) {
		t.Fatalf("got %d transactions: %+v", len(got), got)
	}
	for i, tx := range got {
		if (line{tx.MessageID, tx.Accepted, tx.Confirmed}) != want[i] {
			t.Errorf("transaction %d is %+v, want %+v", i, tx, want[i])
		}
		if tx.Heard.Before(tx.Began) || tx.Ended.Before(tx.Heard) {
			t.Errorf("transaction %d began %s, was heard %s and ended %s", i, tx.Began, tx.Heard, tx.Ended)
		}
	}
}
