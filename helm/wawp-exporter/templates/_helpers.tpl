{{- define "wawp-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "wawp-exporter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "wawp-exporter.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "wawp-exporter.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "wawp-exporter.selector" -}}
app.kubernetes.io/name: {{ include "wawp-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "wawp-exporter.labels" -}}
{{ include "wawp-exporter.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "wawp-exporter.testLabels" -}}
app.kubernetes.io/name: {{ include "wawp-exporter.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "wawp-exporter.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "wawp-exporter.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "wawp-exporter.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* The Secret whose keys are mounted as files; empty for none. */}}
{{- define "wawp-exporter.secret" -}}
{{- if .Values.secrets.existingSecret -}}
{{- .Values.secrets.existingSecret -}}
{{- else if .Values.secrets.files -}}
{{- include "wawp-exporter.fullname" . -}}
{{- end -}}
{{- end -}}

{{/* Values that cannot work are refused here, before anything is made. */}}
{{- define "wawp-exporter.check" -}}
{{- $pods := mul (int .Values.replicas) (int .Values.shards) -}}
{{- if and (eq .Values.database.kind "sqlite") (gt $pods 1) -}}
{{- fail "SQLite takes one replica of one shard: set database.kind to postgresql, or replicas and shards to 1" -}}
{{- end -}}
{{- if and (eq .Values.database.kind "postgresql") (not .Values.database.url) (not .Values.database.existingSecret) -}}
{{- fail "database.kind is postgresql: set database.existingSecret (a Secret with the URL), or database.url" -}}
{{- end -}}
{{- if and (not (hasKey .Values.config "sources")) (not (include "wawp-exporter.secret" .)) -}}
{{- fail "webhooks must be signed: set secrets.existingSecret or secrets.files (with the key hmac.keys), or config.sources" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts is empty: name the host that gateways send to" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs is empty: name the gateway that it hangs on" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled -}}
{{- fail "serviceMonitor and podMonitor would scrape everything twice: enable one of them" -}}
{{- end -}}
{{- end -}}

{{/* The configuration file: the chart's own values, overridden by the user's `config`. */}}
{{- define "wawp-exporter.config" -}}
{{- $base := dict "web" (dict "listen" "0.0.0.0:10011" "ingress_listen" "0.0.0.0:10012") -}}
{{- if not (hasKey .Values.config "sources") -}}
{{- $_ := set $base "sources" (dict "default" (dict "hmac_keys_file" "/etc/wawp-exporter/secrets/hmac.keys")) -}}
{{- end -}}
{{- if eq .Values.database.kind "sqlite" -}}
{{- $_ := set $base "database" (dict "url" "sqlite:////data/wawp.db") -}}
{{- else if gt (int .Values.shards) 1 -}}
{{- $_ := set $base "shard" (dict "index" "auto" "total" (int .Values.shards)) -}}
{{- end -}}
{{- toYaml (mustMergeOverwrite $base (deepCopy .Values.config)) -}}
{{- end -}}
