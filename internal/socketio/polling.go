package socketio

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"time"
)

// pollGrace is what a client has to take an answer, or to send a request's body.
const pollGrace = 30 * time.Second

// serveGet waits for messages and answers with all there are. A client has one
// such request at a time; a second one ends the session, since messages could
// overtake each other (Engine.IO protocol, "Receiving data").
func (s *session) serveGet(w http.ResponseWriter, r *http.Request) {
	reply, ok := s.startPoll()
	if !ok {
		badRequest.answer(w, http.StatusBadRequest)
		return
	}
	setDeadlines(w, time.Time{}, time.Time{})
	select {
	case frames := <-reply:
		setDeadlines(w, time.Time{}, time.Now().Add(pollGrace))
		answer(w, http.StatusOK, plainText, encodePayload(frames))
	case <-r.Context().Done(): // the client has cut it: whether it would get the next answer nobody knows
		s.end(TransportClose)
	}
}

// startPoll makes a GET the one that waits.
func (s *session) startPoll() (<-chan []*frame, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ws != nil || s.state == closed && !s.linger {
		return nil, false
	}
	if s.poll != nil {
		s.endLocked(TransportError)
		return nil, false
	}
	s.poll = make(chan []*frame, 1)
	reply := s.poll
	s.flushLocked()
	return reply, true
}

// answerPollLocked answers the GET that waits when there is something to tell.
// The end of a session is told by itself, after all messages: in one payload
// with a DISCONNECT the client would see it first, and come back although it
// was told to go.
func (s *session) answerPollLocked() {
	switch {
	case len(s.queue) > 0:
		s.poll <- s.queue
		s.queue, s.queued = nil, 0
	case s.state == draining:
		s.poll <- []*frame{controlFrame(typeClose)}
		s.poll = nil
		s.endLocked(s.reason)
	case s.probed:
		s.poll <- []*frame{controlFrame(typeNoop)}
	default:
		return
	}
	s.poll = nil
}

// servePost takes a client's messages in (Engine.IO protocol, "Sending data").
func (s *session) servePost(w http.ResponseWriter, r *http.Request) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "application/octet-stream" || !s.startPost() { // binary bodies are revision 3's
		badRequest.answer(w, http.StatusBadRequest)
		return
	}
	defer s.endPost()
	now := time.Now()
	setDeadlines(w, now.Add(pollGrace), time.Time{})
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(s.server.cfg.MaxPayload)))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		s.end(TransportError)
		badRequest.answer(w, http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		s.end(TransportError)
		return
	}
	packets, err := parsePayload(body)
	if err != nil {
		s.end(ParseError)
		badRequest.answer(w, http.StatusBadRequest)
		return
	}
	if !s.receiveAll(packets) {
		badRequest.answer(w, http.StatusBadRequest)
		return
	}
	setDeadlines(w, time.Time{}, time.Now().Add(pollGrace))
	answer(w, http.StatusOK, plainText, []byte("ok"))
}

// receiveAll takes a request's packets in; false for one that the client may not
// send.
func (s *session) receiveAll(packets []engPacket) bool {
	s.reading.Lock()
	defer s.reading.Unlock()
	for _, p := range packets {
		if !s.receive(p) && p.kind != typeClose {
			return false
		}
	}
	return true
}

// startPost makes a POST the one that is read; a second one ends the session.
func (s *session) startPost() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ws != nil || s.state == closed {
		return false
	}
	if s.posting {
		s.endLocked(TransportError)
		return false
	}
	s.posting = true
	return true
}

func (s *session) endPost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posting = false
}
