{{/* The release's name, which all objects' names begin with. */}}
{{- define "postrider.name" -}}
{{- if contains "postrider" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-postrider" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "postrider.selector" -}}
app.kubernetes.io/name: postrider
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .group }}
postrider/group: {{ . }}
{{- end }}
{{- end }}

{{- define "postrider.labels" -}}
{{ include "postrider.selector" . }}
app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* POSTRIDER_QUEUES of a group: its own queues with their numbers, those of the
     other groups with 0. Without a group it is all of them: what a process has
     to know that serves none. */}}
{{- define "postrider.queues" -}}
{{- $all := dict }}
{{- range $name, $worker := .root.Values.workers }}
  {{- range $queue, $concurrency := $worker.queues }}
    {{- if not $.group }}{{ $_ := set $all $queue (max (int $concurrency) (int (get $all $queue | default 0))) }}
    {{- else if eq $name $.group }}{{ $_ := set $all $queue (int $concurrency) }}
    {{- else if not (hasKey $all $queue) }}{{ $_ := set $all $queue 0 }}
    {{- end }}
  {{- end }}
{{- end }}
{{- $list := list }}
{{- range $queue := keys $all | sortAlpha }}{{ $list = append $list (printf "%s=%d" $queue (int (get $all $queue))) }}{{ end }}
{{- join "," $list }}
{{- end }}

{{/* The environment of a component: settings in the order in which they win,
     then the files of its secrets. */}}
{{- define "postrider.env" -}}
{{- $env := merge (dict) (.settings | default dict) (.root.Values.settings | default dict) }}
{{- $_ := set $env "POSTRIDER_QUEUES" (include "postrider.queues" .) }}
{{- $_ := set $env "POSTRIDER_HTTP_ADDR" ":8080" }}
{{- $_ := set $env "POSTRIDER_CONTAINER_GRACE" (printf "%ds" (int .root.Values.containerGrace)) }}
{{- if .root.Values.migrate.enabled }}{{ $_ := set $env "POSTRIDER_AUTO_MIGRATE" "false" }}{{ end }}
{{- range $name := keys $env | sortAlpha }}
{{- $value := get $env $name }}
{{- if ne $value nil }}
- name: {{ $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end }}
{{- range $name, $key := include "postrider.keys" . | fromYaml }}
- name: {{ $name }}_FILE
  value: /etc/postrider/secrets/{{ $key }}
{{- end }}
{{- end }}

{{/* The secrets of a component: variable → key. */}}
{{- define "postrider.keys" -}}
{{- $keys := merge (dict) (get .root.Values.secret.keys .component | default dict) .root.Values.secret.keys.common }}
{{- range $name := keys $keys | sortAlpha }}
{{- with get $keys $name }}
{{ $name }}: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* The pod of a component: .program is its command, .resources its own. */}}
{{- define "postrider.pod" -}}
metadata:
  labels: {{- include "postrider.labels" . | nindent 4 }}
  annotations:
    {{- if and (not .root.Values.prometheus.podMonitor) (ne .component "migrate") }}
    prometheus.io/scrape: "true"
    prometheus.io/port: "8080"
    prometheus.io/path: /metrics
    {{- end }}
    {{- with .root.Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  # Nothing of it speaks to Kubernetes.
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with .root.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  # POSTRIDER_CONTAINER_GRACE counts from the signal, this from before the sleep.
  terminationGracePeriodSeconds: {{ add .root.Values.containerGrace (.preStopSleep | default 0) 5 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    seccompProfile: {type: RuntimeDefault}
  {{- if .spread }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "postrider.selector" . | nindent 10 }}
  {{- end }}
  {{- with .root.Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if eq .component "migrate" }}
  restartPolicy: Never
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ printf "%s:%s" .root.Values.image.repository (.root.Values.image.tag | default .root.Chart.AppVersion) | quote }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: {{ toJson .program }}
      env: {{- include "postrider.env" . | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      resources: {{- toYaml .resources | nindent 8 }}
      {{- if ne .component "migrate" }}
      ports:
        - name: http
          containerPort: 8080
      startupProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 2
        failureThreshold: 30
      # Only whether it serves at all: to replace it mends no store that is away.
      livenessProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        periodSeconds: 5
        timeoutSeconds: 4
        failureThreshold: 2
      {{- end }}
      {{- with .preStopSleep }}
      lifecycle:
        preStop:
          sleep: {seconds: {{ . }}}
      {{- end }}
      volumeMounts:
        - name: secrets
          mountPath: /etc/postrider/secrets
          readOnly: true
        {{- with .root.Values.volumeMounts }}{{ toYaml . | nindent 8 }}{{ end }}
  volumes:
    - name: secrets
      secret:
        secretName: {{ .root.Values.secret.name }}
        defaultMode: 0440
        items:
          {{- range $key := include "postrider.keys" . | fromYaml | values | sortAlpha | uniq }}
          - {key: {{ $key }}, path: {{ $key }}}
          {{- end }}
    {{- with .root.Values.volumes }}{{ toYaml . | nindent 4 }}{{ end }}
{{- end }}

{{/* Pods that may be missing at a time while nodes are drained. */}}
{{- define "postrider.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  labels: {{- include "postrider.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{- include "postrider.selector" . | nindent 6 }}
{{- end }}
