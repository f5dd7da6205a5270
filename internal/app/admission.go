package app

import (
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail/template"
	"github.com/postrider/postrider/tasks"
)

// admissions are asked about new jobs, by type. What is wrong with a request is
// told before what suppresses or puts off its mail.
func (a *App) admissions() map[string]job.Admission {
	return map[string]job.Admission{
		tasks.EmailSend.Name:        job.Admissions{template.NewPinner(a.templates, a.shelf, a.links()), a.files, a.suppressed, a.recipients.Mails},
		tasks.NotificationSend.Name: a.recipients.Notifications,
	}
}
