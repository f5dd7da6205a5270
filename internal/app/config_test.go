package app

import (
	"bytes"
	"strings"
	"testing"
)

func TestLoadRefuses(t *testing.T) {
	const (
		postgres = "DATABASE_URL=postgres://u:p@db/postrider"
		smtp     = "SMTP_URL=smtp://mail.example:587"
	)
	for _, test := range []struct {
		name    string
		role    Role
		environ []string
		says    []string // none: accepted
	}{
		{"api", API, []string{postgres}, nil},
		{"api without a database", API, nil, []string{"DATABASE_URL must name a PostgreSQL"}},
		{"api on SQLite", API, []string{"DATABASE_URL=sqlite:x.db"}, []string{"DATABASE_URL must name a PostgreSQL"}},
		{"api on an embedded Redis", API, []string{postgres, "REDIS_URL=embedded:"}, []string{"REDIS_URL must name a Redis server"}},
		{"api that takes bounces", API, []string{postgres, "POSTRIDER_BOUNCE_ADDR=:25", "POSTRIDER_BOUNCE_DOMAIN=b.example.com", "POSTRIDER_SECRET=0123456789abcdef0123456789abcdef"}, nil},
		{"api that takes bounces for no domain", API, []string{postgres, "POSTRIDER_BOUNCE_ADDR=:25"}, []string{"POSTRIDER_BOUNCE_DOMAIN"}},
		{"api that takes bounces nowhere", API, []string{postgres, "POSTRIDER_BOUNCE_ADDR=25"}, []string{"POSTRIDER_BOUNCE_ADDR must be host:port"}},
		{"api open to the network", API, []string{postgres, "POSTRIDER_HTTP_ADDR=:8080"}, []string{"POSTRIDER_HTTP_ADDR", "POSTRIDER_API_KEYS"}},
		{"api with keys on the network", API, []string{postgres, "POSTRIDER_HTTP_ADDR=:8080", "POSTRIDER_API_KEYS=shop:0123456789abcdef:admin"}, nil},
		{"worker", Worker, []string{postgres, smtp}, nil},
		{"worker without a mail server", Worker, []string{postgres}, []string{"SMTP_URL"}},
		{"worker with a conversation longer than the attempt", Worker, []string{postgres, smtp, "POSTRIDER_SMTP_TIMEOUT=5m"}, []string{"POSTRIDER_SMTP_TIMEOUT"}},
		{"worker killed before its limit", Worker, []string{postgres, smtp, "POSTRIDER_CONTAINER_GRACE=30s"}, []string{"POSTRIDER_CONTAINER_GRACE"}},
		{"worker with limits", Worker, []string{postgres, smtp, "POSTRIDER_LIMITS=queue:bulk=100/s,domain:gmail.com=20/s"}, nil},
		{"worker with a limit on a provider", Worker, []string{postgres, "SMTP_URL=smtp://a.example?name=Main smtp://b.example", "POSTRIDER_LIMITS=provider:main=10/s,provider:b.example=5/s"}, nil},
		{"worker with a limit on no provider", Worker, []string{postgres, "SMTP_URL=smtp://a.example?name=main", "POSTRIDER_LIMITS=provider:mian=10/s"}, []string{"POSTRIDER_LIMITS", "mian"}},
		{"api with a limit on a provider that it does not know", API, []string{postgres, "POSTRIDER_LIMITS=provider:main=10/s"}, nil},
		{"api with quotas", API, []string{postgres, "POSTRIDER_API_KEYS=shop:0123456789abcdef:jobs:write", "POSTRIDER_QUOTAS=shop=100/d,*=10/h"}, nil},
		{"worker with a limit on no queue", Worker, []string{postgres, smtp, "POSTRIDER_LIMITS=queue:bluk=100/s"}, []string{"POSTRIDER_LIMITS", "bluk"}},
		{"scheduler", Scheduler, []string{postgres}, nil},
		{"scheduler on SQLite", Scheduler, []string{"DATABASE_URL=sqlite:x.db"}, []string{"DATABASE_URL"}},
		{"serve on SQLite", Serve, []string{smtp}, nil},
		{"serve without a mail server", Serve, nil, []string{"SMTP_URL", "postrider dev"}},
		{"dev needs nothing", Dev, nil, nil},
		{"dev shows its mailbox to the network", Dev, []string{"POSTRIDER_HTTP_ADDR=:8080", "POSTRIDER_API_KEYS=shop:0123456789abcdef:admin"}, []string{"POSTRIDER_HTTP_ADDR", "/dev/mail", "SMTP_URL"}},
		{"dev without a mailbox on the network", Dev, []string{smtp, "POSTRIDER_HTTP_ADDR=:8080", "POSTRIDER_API_KEYS=shop:0123456789abcdef:admin"}, nil},
		{"all that is wrong at once", Serve, []string{"DATABASE_URL=mysql://x", "REDIS_URL=x", "POSTRIDER_KEEP_DONE=1s"}, []string{"DATABASE_URL", "REDIS_URL", "POSTRIDER_KEEP_DONE"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := Load(test.role, test.environ)
			if len(test.says) == 0 && err != nil {
				t.Errorf("refused: %v", err)
			}
			for _, word := range test.says {
				if err == nil || !strings.Contains(err.Error(), word) {
					t.Errorf("error %v, want it to say %q", err, word)
				}
			}
		})
	}
}

func TestMainReadsFlags(t *testing.T) {
	environ := []string{"DATABASE_URL=postgres://post:hunter2@db/postrider"}
	for _, test := range []struct {
		args     []string
		code     int
		out, err string // parts of what is printed
	}{
		{[]string{"-check-config"}, exitOK, "postgres://post:xxxxx@db/postrider", ""},
		{[]string{"-h"}, exitOK, "", "check-config"},
		{[]string{"-nope"}, exitUsage, "", "-nope"},
		{[]string{"check-config"}, exitUsage, "", "unexpected argument check-config"},
		{[]string{"-check-config", "x"}, exitUsage, "", "unexpected argument x"},
	} {
		var out, complaints bytes.Buffer
		code := Main(t.Context(), API, System{Environ: environ, Stdout: &out, Stderr: &complaints}, test.args)
		if code != test.code || !strings.Contains(out.String(), test.out) || !strings.Contains(complaints.String(), test.err) {
			t.Errorf("%v: exit code %d, want %d; printed %q and %q", test.args, code, test.code, out.String(), complaints.String())
		}
	}
}

func TestCheckConfigHidesSecrets(t *testing.T) {
	var out, complaints bytes.Buffer
	code := CheckConfig(Worker, System{
		Environ: []string{
			"DATABASE_URL=postgres://post:hunter2@db/postrider", "SMTP_URL=smtp://post:hunter2@mail.example",
			"POSTRIDER_QUEUE=email=3", "POSTRIDER_STOP_GRACE=-1s",
		},
		Stdout: &out, Stderr: &complaints,
	})
	if code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	if all := out.String() + complaints.String(); strings.Contains(all, "hunter2") {
		t.Errorf("a secret is shown:\n%s", all)
	}
	for _, want := range []string{"postgres://post:xxxxx@db/postrider", ":8081"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	for _, want := range []string{"POSTRIDER_STOP_GRACE must be more than 0", "POSTRIDER_QUEUE is not a setting"} {
		if !strings.Contains(complaints.String(), want) {
			t.Errorf("%q is missing in\n%s", want, complaints.String())
		}
	}
}
