package deploy_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"
)

// decode reads a YAML file into a value that knows all of its fields.
func decode(t *testing.T, path string, into any) {
	t.Helper()
	dec := yaml.NewDecoder(bytes.NewReader([]byte(read(t, path))))
	dec.KnownFields(true)
	if err := dec.Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// mounted is where a service finds a path of this folder, "" where it does not.
func mounted(s types.ServiceConfig, source string) string {
	for _, v := range s.Volumes {
		if rel, err := filepath.Rel(v.Source, source); err == nil && v.Type == types.VolumeTypeBind && v.ReadOnly && !strings.HasPrefix(rel, "..") {
			return path.Join(v.Target, filepath.ToSlash(rel))
		}
	}
	return ""
}

// Prometheus itself takes the file that compose.yaml gives it, with the rules
// that lie beside it, and what it watches are our processes.
func TestPrometheusConfig(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is missing: run `make test-deps`, or install Debian's package prometheus")
	}
	if out, err := exec.Command(promtool, "check", "config", "prometheus/prometheus.yaml").CombinedOutput(); err != nil {
		t.Errorf("promtool check config: %v\n%s", err, out)
	}
	project := compose(t, nil)
	service := project.Services["prometheus"]
	at := mounted(service, filepath.Join(project.WorkingDir, "prometheus", "prometheus.yaml"))
	if at == "" || !slices.Contains(service.Command, "--config.file="+at) {
		t.Errorf("prometheus is started by %q, and finds its file at %q", service.Command, at)
	}
	var config struct {
		ScrapeConfig []struct {
			Job string `yaml:"job_name"`
			DNS []struct {
				Names []string
				Type  string
				Port  int
			} `yaml:"dns_sd_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "prometheus/prometheus.yaml")), &config); err != nil {
		t.Fatal(err)
	}
	var watched []string
	for _, c := range config.ScrapeConfig {
		for _, d := range c.DNS {
			watched = append(watched, d.Names...)
			if !slices.Equal(d.Names, []string{c.Job}) || d.Type != "A" || d.Port != 8080 {
				t.Errorf("the job %s looks for %+v", c.Job, d)
			}
		}
	}
	if want := []string{"api", "worker", "scheduler"}; !slices.Equal(watched, want) {
		t.Errorf("Prometheus watches %v, want %v", watched, want)
	}
}

// Grafana finds its data source and every dashboard that lies in the folder.
func TestGrafanaProvisioning(t *testing.T) {
	project := compose(t, nil)
	service := project.Services["grafana"]
	const provisioning = "/etc/grafana/provisioning" // the image's own place
	if at := mounted(service, filepath.Join(project.WorkingDir, "grafana", "provisioning")); at != provisioning {
		t.Errorf("the provisioning is at %q", at)
	}
	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, UID, Type, Access, URL string
			IsDefault                    bool           `yaml:"isDefault"`
			Editable                     bool           `yaml:"editable"`
			JSONData                     map[string]any `yaml:"jsonData"`
		}
	}
	decode(t, "grafana/provisioning/datasources/prometheus.yaml", &sources)
	source := sources.Datasources[0]
	if u, err := url.Parse(source.URL); err != nil || project.Services[u.Hostname()].Name == "" || u.Port() != "9090" {
		t.Errorf("the data source is at %s, %v", source.URL, err)
	}
	var providers struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Folder, Type string
			AllowUIUpdates     bool `yaml:"allowUiUpdates"`
			Options            struct{ Path string }
		}
	}
	decode(t, "grafana/provisioning/dashboards/postrider.yaml", &providers)
	dashboards := filepath.Join(project.WorkingDir, "grafana", "dashboards")
	if at := mounted(service, dashboards); at == "" || at != providers.Providers[0].Options.Path {
		t.Errorf("the dashboards are at %q, and looked for in %q", at, providers.Providers[0].Options.Path)
	}
	found, err := filepath.Glob(filepath.Join(dashboards, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range found {
		var dashboard struct{ UID, Title string }
		if text, err := os.ReadFile(file); err != nil || json.Unmarshal(text, &dashboard) != nil || dashboard.UID == "" || dashboard.Title == "" {
			t.Errorf("%s is not a dashboard with a uid and a title (%v)", filepath.Base(file), err)
		}
	}
}

// Each alert fires when it should, and none has been forgotten by the tests of
// alerts.
func TestAlerts(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", "rules/postrider.yaml"}, {"test", "rules", "rules_test.yaml"}} {
		cmd := exec.Command("promtool", args...)
		cmd.Dir = "prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	tests := read(t, "prometheus/rules_test.yaml")
	for line := range strings.Lines(read(t, "prometheus/rules/postrider.yaml")) {
		if name, is := strings.CutPrefix(strings.TrimSpace(line), "- alert: "); is && !strings.Contains(tests, "alertname: "+name+"\n") {
			t.Errorf("no test makes %s fire", name)
		}
	}
}
