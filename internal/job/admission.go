package job

import (
	"context"

	"github.com/postrider/postrider/tasks"
)

// Admission is asked about the jobs of a type before they are written: it
// checks what only others know (a template, an attachment, who wants no mail),
// and may change what is written.
type Admission interface {
	// Admit decides about jobs of one type that a request makes together. It
	// runs outside of any transaction. Its error, with a Code, fails the whole
	// request: whether the jobs are good could not be found out.
	Admit(ctx context.Context, jobs []*Candidate) error
}

// Candidate is a job that is about to be accepted.
type Candidate struct {
	// New is the job to be, without its Payload. Its ID is the one that it will
	// have, unless the request turns out to be a repeat. Its RunAt may be put off; a
	// State of Suppressed has it accepted as one that will not run; Message
	// says why in the job's first event. About may be given a subject, which counts
	// where the payload has none.
	New *New
	// Payload is decoded and valid, and may be changed: it is what is stored.
	Payload tasks.Payload
	// Err, once set, refuses the job. A tasks.Invalid, or what wraps one, names
	// the fields as the payload does.
	Err error
}

// Admissions are asked one after another. A job that one of them has refused or
// suppressed is not shown to the next.
type Admissions []Admission

// Admit implements Admission.
func (all Admissions) Admit(ctx context.Context, jobs []*Candidate) error {
	for _, a := range all {
		open := make([]*Candidate, 0, len(jobs))
		for _, c := range jobs {
			if c.Err == nil && c.New.State != Suppressed {
				open = append(open, c)
			}
		}
		if len(open) == 0 {
			return nil
		}
		if err := a.Admit(ctx, open); err != nil {
			return err
		}
		jobs = open
	}
	return nil
}

// admit asks the admissions of the candidates' types, those that are bad
// already aside, and then writes down their payloads.
func (s *Service) admit(ctx context.Context, all []Candidate) error {
	byType := map[string][]*Candidate{}
	for i := range all {
		c := &all[i]
		if _, asked := s.admissions[c.New.Type]; asked && c.Err == nil {
			byType[c.New.Type] = append(byType[c.New.Type], c)
		}
	}
	for name, jobs := range byType {
		if err := s.admissions[name].Admit(ctx, jobs); err != nil {
			return err
		}
		for _, c := range jobs {
			if c.Err != nil {
				c.Err = refused(c.Err)
			}
		}
	}
	for i := range all {
		if c := &all[i]; c.Err == nil {
			c.encode()
		}
	}
	return nil
}

func (c *Candidate) encode() {
	var err error
	if c.New.Payload, c.New.Recipient, err = tasks.Encode(c.Payload); err != nil {
		c.Err = refused(err)
	}
	if d, ok := c.Payload.(tasks.Described); ok {
		about := d.Describe()
		if about.Subject == "" {
			about.Subject = c.New.About.Subject
		}
		c.New.About = about
	}
}

// refused is a CodeInvalid about the payload's fields.
func refused(err error) error {
	e := Invalid(err)
	e.Fields = belowPayload(e.Fields)
	return e
}
