{{- /* The container's environment variables. A value with its default sets no variable, so that your own ConfigMap can set it. */}}
{{- define "ccr.env" -}}
{{- if .Values.leaderElection.enabled }}
- name: CCR_LEADER_ELECT
  value: "true"
{{- end }}
# The name of the installation consists of this name and the namespace, also without leader election.
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
# The operator must not use the role of the node.
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
# The operator reads both: the certificates of the image, and the additional certificates.
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
