// Package charttest holds the Helm chart to what Kubernetes, KEDA, the
// Prometheus operator and the programs themselves take. It is a module of its
// own, so that Helm and Kubernetes stay out of Postrider's.
package charttest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const (
	chartDir  = "../helm/postrider"
	namespace = "mail"
)

// cases are the values files, and the chart's own values alone.
func cases(t *testing.T) map[string]map[string]any {
	t.Helper()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no values files: %v", err)
	}
	out := map[string]map[string]any{"default": {}}
	for _, file := range files {
		out[strings.TrimSuffix(filepath.Base(file), ".yaml")] = values(t, read(t, file))
	}
	return out
}

func values(t *testing.T, text string) map[string]any {
	t.Helper()
	out := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// render makes the chart's files as `helm install post` does.
func render(values map[string]any) (map[string]string, error) {
	chart, err := loader.LoadDir(chartDir)
	if err != nil {
		return nil, fmt.Errorf("loading the chart: %w", err)
	}
	all, err := util.ToRenderValues(chart, values, common.ReleaseOptions{Name: "post", Namespace: namespace, IsInstall: true}, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the values: %w", err)
	}
	return engine.Render(chart, all)
}

// release is what a chart's files hold, by kind.
type release struct {
	deployments []*apps.Deployment
	jobs        []*batch.Job
	services    []*core.Service
	budgets     []*policy.PodDisruptionBudget
	policies    []*networking.NetworkPolicy
	ingresses   []*networking.Ingress
	hpas        []*autoscaling.HorizontalPodAutoscaler
	scaled      []*keda.ScaledObject
	monitors    []*monitoring.PodMonitor
}

// parse decodes each document strictly into the type that its kind names.
func parse(t *testing.T, files map[string]string) (r release) {
	t.Helper()
	for name, text := range files {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for document := range strings.SplitSeq("\n"+text, "\n---\n") {
			var kind struct{ APIVersion, Kind string }
			if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, document)
			}
			var err error
			switch kind.APIVersion + "/" + kind.Kind {
			case "/":
				continue // nothing but comments
			case "apps/v1/Deployment":
				r.deployments, err = add(r.deployments, document)
			case "batch/v1/Job":
				r.jobs, err = add(r.jobs, document)
			case "v1/Service":
				r.services, err = add(r.services, document)
			case "policy/v1/PodDisruptionBudget":
				r.budgets, err = add(r.budgets, document)
			case "networking.k8s.io/v1/NetworkPolicy":
				r.policies, err = add(r.policies, document)
			case "networking.k8s.io/v1/Ingress":
				r.ingresses, err = add(r.ingresses, document)
			case "autoscaling/v2/HorizontalPodAutoscaler":
				r.hpas, err = add(r.hpas, document)
			case "keda.sh/v1alpha1/ScaledObject":
				r.scaled, err = add(r.scaled, document)
			case "monitoring.coreos.com/v1/PodMonitor":
				r.monitors, err = add(r.monitors, document)
			default:
				err = errors.New("this test does not know the kind")
			}
			if err != nil {
				t.Errorf("%s: %v\n%s", name, err, document)
			}
		}
	}
	slices.SortFunc(r.deployments, func(a, b *apps.Deployment) int { return strings.Compare(a.Name, b.Name) })
	return r
}

func add[T any](to []*T, document string) ([]*T, error) {
	v := new(T)
	err := yaml.UnmarshalStrict([]byte(document), v)
	return append(to, v), err
}

// rendered is render and parse.
func rendered(t *testing.T, values map[string]any) release {
	t.Helper()
	files, err := render(values)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, files)
}

// Helm's own lint has nothing to say but that there is no icon.
func TestLint(t *testing.T) {
	for name, values := range cases(t) {
		for _, m := range lint.RunAll(chartDir, values, namespace).Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %v", name, m)
			}
		}
	}
}

// Values that cannot be meant are refused, and the refusal names them.
func TestSchema(t *testing.T) {
	for text, says := range map[string]string{
		`replicas: 3`:                               "replicas",
		`api: {replicas: 0}`:                        "replicas",
		`workers: {main: {queues: {email: 0}}}`:     "email",
		`workers: {Main: {queues: {email: 1}}}`:     "Main",
		`workers: {main: {autoscaling: {kind: x}}}`: "kind",
		`settings: {POSTRIDER_QUEUES: email=1}`:     "POSTRIDER_QUEUES",
		`settings: {log_level: debug}`:              "log_level",
		`secret: {name: ""}`:                        "name",
		`ingress: {enabled: true}`:                  "ingress.host",
		`networkPolicy: {ports: {api: [https]}}`:    "ports",
	} {
		if _, err := render(values(t, text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v; want one about %s", text, err, says)
		}
	}
}
