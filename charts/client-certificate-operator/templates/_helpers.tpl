{{- define "ccr.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 53 | trimSuffix "-" }}
{{- end }}

{{- define "ccr.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "ccr.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "ccr.fullname" .) "default") }}
{{- end }}

{{- define "ccr.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ccr.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* Helm sets app.kubernetes.io/managed-by at the installation. In deploy/install.yaml, the label would be wrong. */}}
{{- define "ccr.labels" -}}
{{ include "ccr.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "ccr.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- /* The rights in one namespace, or in all namespaces. RBAC cannot select by label, so the rights on Secrets and ConfigMaps apply
to all of them. The operator watches only those with its label, and writes only to its own. */}}
{{- define "ccr.rules" -}}
- apiGroups: [apigateway.clientcert.dev]
  resources: [clientcertificaterefs]
  verbs: [get, list, watch]
- apiGroups: [apigateway.clientcert.dev]
  resources: [clientcertificaterefs/status]
  verbs: [update, patch]
- apiGroups: [""]
  resources: [{{ include "ccr.targetResources" . }}]
  verbs: [get, list, watch, create, update, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{- define "ccr.targetResources" -}}
{{- $resources := list }}
{{- if has "Secret" .Values.targets.kinds }}{{ $resources = append $resources "secrets" }}{{ end }}
{{- if has "ConfigMap" .Values.targets.kinds }}{{ $resources = append $resources "configmaps" }}{{ end }}
{{- join ", " $resources }}
{{- end }}

{{- /* The first rule that selects namespaces by label: its name, or its index. */}}
{{- define "ccr.selectingRule" -}}
{{- $found := "" }}
{{- range $index, $rule := .Values.rules.rules }}
{{- if and (hasKey $rule "namespaceSelector") (not $found) }}{{ $found = default (printf "rules[%d]" $index) $rule.name }}{{ end }}
{{- end }}
{{- $found }}
{{- end }}

{{- /* Refuses combinations of values that are valid only separately. */}}
{{- define "ccr.check" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.leaderElection.enabled) }}
{{- fail (printf "replicas is %d and leaderElection.enabled is false: the replicas would undo each other's writes; set leaderElection.enabled=true or replicas=1" (int .Values.replicas)) }}
{{- end }}
{{- if and .Values.watch.namespaces (include "ccr.selectingRule" .) }}
{{- fail (printf "rule %s has a namespaceSelector and watch.namespaces is set: such an installation may not watch the labels of namespaces; list the namespaces in the rule, or leave watch.namespaces empty" (include "ccr.selectingRule" .)) }}
{{- end }}
{{- if and .Values.caBundle.configMap .Values.caBundle.secret }}
{{- fail "caBundle must not have both configMap and secret" }}
{{- end }}
{{- end }}
