package charttest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
)

// programs builds the programs and returns their folder.
func programs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-o", dir+"/", "./cmd/...")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the programs: %v\n%s", err, out)
	}
	return dir
}

// secrets makes the files that the Secret holds.
func secrets(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("../make-secrets", dir).CombinedOutput(); err != nil {
		t.Fatalf("make-secrets: %v\n%s", err, out)
	}
	for name, content := range map[string]string{"redis_url": "redis://redis:6379/0", "secret": strings.Repeat("s", 40)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Every program takes the settings that its pod gives it, and warns of none.
func TestSettings(t *testing.T) {
	bin, dir := programs(t), secrets(t)
	for name, values := range cases(t) {
		for owner, p := range rendered(t, values).pods() {
			t.Run(name+"/"+owner, func(t *testing.T) {
				program := p.Spec.Containers[0].Args[0]
				if program == "postrider" { // migrate needs what a scheduler does
					program = "scheduler"
				}
				check := exec.Command(filepath.Join(bin, program), "-check-config")
				for setting, value := range env(p) {
					check.Env = append(check.Env, setting+"="+strings.ReplaceAll(value, secretsDir, dir))
				}
				var complaints strings.Builder
				check.Stderr = &complaints
				if err := check.Run(); err != nil || complaints.Len() > 0 {
					t.Errorf("%s -check-config: %v\n%s", program, err, complaints.String())
				}
			})
		}
	}
}

// Every process knows all queues, and each of them has a group that serves it.
func TestQueues(t *testing.T) {
	for name, values := range cases(t) {
		var known []string
		served := map[string]bool{}
		for owner, p := range rendered(t, values).pods() {
			var names []string
			for entry := range strings.SplitSeq(env(p)["POSTRIDER_QUEUES"], ",") {
				queue, concurrency, _ := strings.Cut(entry, "=")
				names = append(names, queue)
				served[queue] = served[queue] || strings.Contains(owner, "-worker-") && concurrency != "0"
			}
			if known == nil {
				known = names
			}
			if !slices.Equal(names, known) {
				t.Errorf("%s: %s knows %v, and another %v", name, owner, names, known)
			}
		}
		for _, queue := range known {
			if !served[queue] {
				t.Errorf("%s: nobody serves %s", name, queue)
			}
		}
	}
}

// What scales names a deployment that leaves its size to it, and asks what
// Prometheus can answer.
func TestScaling(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is missing: run `make test-deps`, or install Debian's package prometheus")
	}
	for name, values := range cases(t) {
		r := rendered(t, values)
		scaled := map[string]bool{}
		for _, h := range r.hpas {
			scaled[h.Spec.ScaleTargetRef.Name] = true
			if *h.Spec.MinReplicas > h.Spec.MaxReplicas || len(h.Spec.Metrics) == 0 {
				t.Errorf("%s: %s has %+v", name, h.Name, h.Spec)
			}
		}
		for _, s := range r.scaled {
			scaled[s.Spec.ScaleTargetRef.Name] = true
			if len(s.Spec.Triggers) == 0 {
				t.Errorf("%s: %s has no trigger", name, s.Name)
			}
			for _, trigger := range s.Spec.Triggers {
				if trigger.Type != "prometheus" || trigger.MetricType != "Value" || trigger.Metadata["threshold"] == "" {
					t.Errorf("%s: %s has the trigger %+v", name, s.Name, trigger)
				}
				rule := fmt.Sprintf("groups: [{name: scale, rules: [{record: value, expr: %q}]}]", trigger.Metadata["query"])
				file := filepath.Join(t.TempDir(), "rule.yaml")
				if err := os.WriteFile(file, []byte(rule), 0o600); err != nil {
					t.Fatal(err)
				}
				if out, err := exec.Command(promtool, "check", "rules", file).CombinedOutput(); err != nil {
					t.Errorf("%s: %s asks %s: %v\n%s", name, s.Name, trigger.Metadata["query"], err, out)
				}
			}
		}
		for _, d := range r.deployments {
			if (d.Spec.Replicas == nil) != scaled[d.Name] {
				t.Errorf("%s: %s has %v replicas by itself", name, d.Name, d.Spec.Replicas)
			}
			delete(scaled, d.Name)
		}
		if len(scaled) > 0 {
			t.Errorf("%s: %v scale nothing", name, scaled)
		}
	}
}

// A values file says what comes of it: what groups.yaml asks for is there.
func TestGroups(t *testing.T) {
	r := rendered(t, cases(t)["groups"])
	queues := map[string]string{}
	images := map[string]bool{}
	var api core.PodTemplateSpec
	for owner, p := range r.pods() {
		queues[owner] = env(p)["POSTRIDER_QUEUES"]
		images[p.Spec.Containers[0].Image] = true
		if owner == "post-postrider-api" {
			api = p
		}
	}
	for owner, want := range map[string]string{
		"post-postrider-worker-main":      "bulk=0,default=10,email=40,maintenance=2,notification=50",
		"post-postrider-worker-campaigns": "bulk=50,default=0,email=0,maintenance=0,notification=0",
		"post-postrider-api":              "bulk=50,default=10,email=40,maintenance=2,notification=50",
	} {
		if queues[owner] != want {
			t.Errorf("%s has the queues %q, want %q", owner, queues[owner], want)
		}
	}
	if len(images) != 1 || !images["registry.example.com/postrider:v1.2.3"] {
		t.Errorf("the images are %v", images)
	}
	e := env(api)
	if e["POSTRIDER_JWT_SECRET_FILE"] != secretsDir+"/jwt_secret" || e["POSTRIDER_PUBLIC_URL"] != "https://post.example.com" {
		t.Errorf("the api has the settings %v", e)
	}
	if len(r.scaled) != 2 || len(r.monitors) != 1 || len(r.ingresses) != 1 {
		t.Fatalf("%d ScaledObjects, %d PodMonitors, %d Ingresses", len(r.scaled), len(r.monitors), len(r.ingresses))
	}
	in := r.ingresses[0]
	if in.Spec.TLS[0].SecretName != "post-tls" || in.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name != r.services[0].Name ||
		!strings.Contains(in.Annotations["nginx.ingress.kubernetes.io/upstream-hash-by"], "remote_addr") {
		t.Errorf("the Ingress is %+v", in)
	}
	if len(r.jobs) != 1 || r.jobs[0].Annotations["helm.sh/hook"] != "pre-install,pre-upgrade" {
		t.Errorf("the migration is %+v", r.jobs)
	}
}
