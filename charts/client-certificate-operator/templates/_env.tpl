{{- /* The container's variables. A value at its default sets no variable, so that a ConfigMap made by hand can set it. */}}
{{- define "ccr.env" -}}
{{- if .Values.leaderElection.enabled }}
- name: CCR_LEADER_ELECT
  value: "true"
{{- end }}
# With its namespace it names the installation, also where no Lease is held.
- name: CCR_LEASE_NAME
  value: {{ include "ccr.fullname" . }}
- name: CCR_LEASE_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: CCR_HOLDER
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- with .Values.watch.namespaces }}
- name: CCR_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
{{- if ne (len .Values.targets.kinds) 2 }}
- name: CCR_TARGET_KINDS
  value: {{ join "," .Values.targets.kinds | quote }}
{{- end }}
{{- if .Values.rules }}
- name: CCR_RULES_FILE
  value: /etc/client-certificate-operator/rules.yaml
{{- end }}
{{- $flags := dict "CCR_CONCURRENCY" .Values.concurrency "CCR_RATE" .Values.rate "CCR_BURST" .Values.burst "CCR_EXPIRING_WITHIN" .Values.expiringWithin "CCR_MANAGE_DESCRIPTIONS" .Values.manageDescriptions "CCR_PER_RESOURCE_METRICS" .Values.perResourceMetrics "CCR_LOG_FORMAT" .Values.logFormat }}
{{- range $name, $value := $flags }}
{{- if not (kindIs "invalid" $value) }}
- name: {{ $name }}
  value: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}{{- /* not 2e+06 */}}
{{- end }}
{{- end }}
{{- with .Values.region }}
- name: AWS_REGION
  value: {{ . | quote }}
{{- end }}
{{- with .Values.aws.endpointUrl }}
- name: AWS_ENDPOINT_URL
  value: {{ . | quote }}
{{- end }}
{{- if not .Values.aws.instanceMetadata }}
# The node's own role is not for the operator.
- name: AWS_EC2_METADATA_DISABLED
  value: "true"
{{- end }}
{{- with .Values.proxy.httpsProxy }}
- name: HTTPS_PROXY
  value: {{ . | quote }}
{{- end }}
{{- with .Values.proxy.noProxy }}
- name: NO_PROXY
  value: {{ . | quote }}
{{- end }}
{{- if or .Values.caBundle.configMap .Values.caBundle.secret }}
# Both are read: the image's own certificates, and those beside them.
- name: SSL_CERT_FILE
  value: /etc/ssl/certs/ca-certificates.crt
- name: SSL_CERT_DIR
  value: /etc/client-certificate-operator-ca
{{- end }}
{{- with .Values.tracing.endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
