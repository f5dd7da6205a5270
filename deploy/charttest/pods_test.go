package charttest

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

const secretsDir = "/etc/postrider/secrets"

// pods are the pod templates of a release by the name of what makes them.
func (r release) pods() map[string]core.PodTemplateSpec {
	out := map[string]core.PodTemplateSpec{}
	for _, d := range r.deployments {
		out[d.Name] = d.Spec.Template
	}
	for _, j := range r.jobs {
		out[j.Name] = j.Spec.Template
	}
	return out
}

// env is what the pod's program is given.
func env(p core.PodTemplateSpec) map[string]string {
	out := map[string]string{}
	for _, e := range p.Spec.Containers[0].Env {
		out[e.Name] = e.Value
	}
	return out
}

// Every pod runs with nothing that it does not need, and gets no secret but
// those that it is told of.
func TestPods(t *testing.T) {
	for name, values := range cases(t) {
		r := rendered(t, values)
		for owner, p := range r.pods() {
			t.Run(name+"/"+owner, func(t *testing.T) {
				spec, c := p.Spec, p.Spec.Containers[0]
				s := spec.SecurityContext
				if s.RunAsNonRoot == nil || !*s.RunAsNonRoot || *s.RunAsUser != 65532 || s.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
					t.Errorf("it runs as %+v", s)
				}
				cs := c.SecurityContext
				if cs.AllowPrivilegeEscalation == nil || *cs.AllowPrivilegeEscalation || !*cs.ReadOnlyRootFilesystem ||
					!slices.Equal(cs.Capabilities.Drop, []core.Capability{"ALL"}) || len(cs.Capabilities.Add) > 0 {
					t.Errorf("its container runs as %+v", cs)
				}
				if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken || spec.HostNetwork || len(spec.Containers) != 1 {
					t.Error("it gets more than it needs")
				}
				checkSecrets(t, p)
				checkStop(t, p)
				for label, value := range p.Labels {
					if bad := append(validation.IsQualifiedName(label), validation.IsValidLabelValue(value)...); len(bad) > 0 {
						t.Errorf("label %s=%s: %v", label, value, bad)
					}
				}
			})
		}
	}
}

// checkSecrets compares the files that settings name with those of the volume.
func checkSecrets(t *testing.T, p core.PodTemplateSpec) {
	t.Helper()
	v := p.Spec.Volumes[0].Secret
	if v == nil || v.DefaultMode == nil || *v.DefaultMode != 0o440 {
		t.Fatalf("the secrets' volume is %+v; want it read by the pod's group alone", p.Spec.Volumes[0])
	}
	if m := p.Spec.Containers[0].VolumeMounts[0]; m.Name != p.Spec.Volumes[0].Name || m.MountPath != secretsDir || !m.ReadOnly {
		t.Errorf("the secrets are at %+v", m)
	}
	var mounted, named []string
	for _, item := range v.Items {
		mounted = append(mounted, path.Join(secretsDir, item.Path))
	}
	for setting, value := range env(p) {
		if strings.HasSuffix(setting, "_FILE") {
			named = append(named, value)
		}
	}
	slices.Sort(mounted)
	slices.Sort(named)
	if !slices.Equal(mounted, slices.Compact(named)) {
		t.Errorf("it gets the files %v, and its settings name %v", mounted, named)
	}
}

// checkStop compares when the pod is killed with what its program plans.
func checkStop(t *testing.T, p core.PodTemplateSpec) {
	t.Helper()
	c := p.Spec.Containers[0]
	slept := int64(0)
	if c.Lifecycle != nil {
		slept = c.Lifecycle.PreStop.Sleep.Seconds
	}
	planned := int64(0)
	if _, err := fmt.Sscanf(env(p)["POSTRIDER_CONTAINER_GRACE"], "%ds", &planned); err != nil {
		t.Fatal(err)
	}
	if grace := *p.Spec.TerminationGracePeriodSeconds; grace <= planned+slept {
		t.Errorf("it is killed after %d s, sleeps %d s and plans with %d s", grace, slept, planned)
	}
	if p.Spec.RestartPolicy == core.RestartPolicyNever {
		return // it runs once
	}
	for _, probe := range []*core.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Port.StrVal != c.Ports[0].Name {
			t.Fatalf("a probe is %+v", probe)
		}
	}
	if live, ready := c.LivenessProbe.HTTPGet.Path, c.ReadinessProbe.HTTPGet.Path; live != "/healthz" || ready != "/readyz" {
		t.Errorf("its probes ask %s and %s", live, ready)
	}
	if c.Ports[0].ContainerPort != 8080 || env(p)["POSTRIDER_HTTP_ADDR"] != ":8080" {
		t.Errorf("it serves on %s, and is asked at %d", env(p)["POSTRIDER_HTTP_ADDR"], c.Ports[0].ContainerPort)
	}
}

// Each selector finds the pods that it means, and those of no other kind.
func TestSelectors(t *testing.T) {
	for name, values := range cases(t) {
		r := rendered(t, values)
		pods := r.pods()
		found := func(selector *metav1.LabelSelector) (names []string) {
			t.Helper()
			s, err := metav1.LabelSelectorAsSelector(selector)
			if err != nil {
				t.Fatal(err)
			}
			for owner, p := range pods {
				if s.Matches(labels.Set(p.Labels)) {
					names = append(names, owner)
				}
			}
			slices.Sort(names)
			return names
		}
		only := func(what string, selector *metav1.LabelSelector) {
			t.Helper()
			if got := found(selector); !slices.Equal(got, []string{what}) {
				t.Errorf("%s: the selector of %s finds the pods of %v", name, what, got)
			}
		}
		for _, d := range r.deployments {
			only(d.Name, d.Spec.Selector)
			if spread := d.Spec.Template.Spec.TopologySpreadConstraints; len(spread) != 1 {
				t.Errorf("%s: the replicas of %s are not spread", name, d.Name)
			} else {
				only(d.Name, spread[0].LabelSelector)
			}
		}
		for _, s := range r.services {
			only(s.Name, &metav1.LabelSelector{MatchLabels: s.Spec.Selector})
		}
		if len(r.budgets) != len(r.deployments) {
			t.Errorf("%s: %d budgets for %d deployments", name, len(r.budgets), len(r.deployments))
		}
		for _, b := range r.budgets {
			only(b.Name, b.Spec.Selector)
			// With a single replica, too, a node can be drained.
			if b.Spec.MaxUnavailable == nil || b.Spec.MaxUnavailable.IntValue() != 1 {
				t.Errorf("%s: %s allows %v to be missing", name, b.Name, b.Spec.MaxUnavailable)
			}
		}
		guarded := map[string]int{}
		for _, p := range r.policies {
			for _, owner := range found(&p.Spec.PodSelector) {
				guarded[owner]++
			}
			if len(p.Spec.PolicyTypes) != 2 || len(p.Spec.Egress) != 2 {
				t.Errorf("%s: %s leaves something open", name, p.Name)
			}
		}
		for owner := range pods {
			if want := min(len(r.policies), 1); guarded[owner] != want {
				t.Errorf("%s: %d network policies are about %s", name, guarded[owner], owner)
			}
		}
		for _, m := range r.monitors {
			if got := found(&m.Spec.Selector); len(got) != len(pods) || *m.Spec.PodMetricsEndpoints[0].Port != "http" {
				t.Errorf("%s: the PodMonitor finds %v", name, got)
			}
		}
	}
}
