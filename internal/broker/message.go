package broker

import (
	"math"
	"time"

	"github.com/hibiken/asynq"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/postrider/postrider/internal/job"
)

// message is a task as asynq is to have it. No retention: a finished task would
// cost Redis some 500 bytes for as long as asynq kept it, at thousands a second,
// and keep its TaskID taken. What became of a job is in SQL.
type message struct {
	typ, id, queue string
	payload        []byte
	retry          int
	timeout        time.Duration // whole seconds
	trace          string        // the header traceparent; mostly none
}

// message is what brings a task to a worker.
func (c *Client) message(t job.Task) message {
	typ := typeOf(c.types, t.Type)
	m := message{
		typ: t.Type, id: t.TaskID(), queue: t.Queue, retry: math.MaxInt32,
		// asynq takes a Timeout below one second for none and cuts fractions off.
		timeout: (typ.Deadline + c.margin + time.Second - 1).Truncate(time.Second),
	}
	if t.Dispatch == 0 {
		m.payload, m.trace = t.Payload, t.Trace
		// One more than asynq would need: at Retried >= MaxRetry it archives
		// without asking whether that was a failure, and a job that was only
		// rate-limited on its last attempt would be over. The server ends it
		// when its attempts are used up.
		m.retry = typ.MaxAttempts
	}
	return m
}

// forAsynq is the message in the terms of asynq's client.
func (m message) forAsynq() (*asynq.Task, []asynq.Option) {
	var headers map[string]string
	if m.trace != "" {
		headers = map[string]string{traceHeader: m.trace}
	}
	return asynq.NewTaskWithHeaders(m.typ, m.payload, headers), []asynq.Option{
		asynq.TaskID(m.id), asynq.Queue(m.queue), asynq.MaxRetry(m.retry), asynq.Timeout(m.timeout),
	}
}

// The fields of a TaskMessage (asynq v0.26.0, internal/proto/asynq.proto) that a
// new task has.
const (
	fieldType    protowire.Number = 1
	fieldPayload protowire.Number = 2
	fieldID      protowire.Number = 3
	fieldQueue   protowire.Number = 4
	fieldRetry   protowire.Number = 5
	fieldTimeout protowire.Number = 8
	fieldHeaders protowire.Number = 15 // a map: entries of key and value
	entryKey     protowire.Number = 1
	entryValue   protowire.Number = 2
)

// traceHeader is the header of a task that is part of a trace (W3C Trace Context
// section 3.2).
const traceHeader = "traceparent"

// encode writes the message as asynq's client does, in a fifth of its time. The
// contract compares the two.
func (m message) encode() []byte {
	const rest = 48 // tags, lengths and numbers
	b := make([]byte, 0, rest+len(m.typ)+len(m.payload)+len(m.id)+len(m.queue))
	b = appendBytes(b, fieldType, m.typ)
	b = appendBytes(b, fieldPayload, m.payload)
	b = appendBytes(b, fieldID, m.id)
	b = appendBytes(b, fieldQueue, m.queue)
	b = appendNumber(b, fieldRetry, int64(m.retry))
	b = appendNumber(b, fieldTimeout, int64(m.timeout/time.Second))
	if m.trace != "" {
		entry := appendBytes(appendBytes(nil, entryKey, traceHeader), entryValue, m.trace)
		b = appendBytes(b, fieldHeaders, entry)
	}
	return b
}

// appendBytes appends a field, unless it is empty, as proto3 has it.
func appendBytes[T string | []byte](b []byte, field protowire.Number, value T) []byte {
	if len(value) == 0 {
		return b
	}
	b = protowire.AppendTag(b, field, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(value)))
	return append(b, value...)
}

// appendNumber appends a field, unless it is zero.
func appendNumber(b []byte, field protowire.Number, value int64) []byte {
	if value == 0 {
		return b
	}
	b = protowire.AppendTag(b, field, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(value))
}
