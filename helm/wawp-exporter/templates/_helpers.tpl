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

{{/* The file that the webhook key is in, unless the values say otherwise. */}}
{{- define "wawp-exporter.keyFile" -}}
/etc/wawp-exporter/secrets/hmac.keys
{{- end -}}

{{/* The Secret with the webhook key that the chart makes itself; empty if the values give a key, or need none. */}}
{{- define "wawp-exporter.ownKey" -}}
{{- $used := or (not (hasKey .Values.config "sources")) (contains (include "wawp-exporter.keyFile" .) (toYaml .Values.config)) -}}
{{- if and $used (not .Values.secrets.existingSecret) (not (hasKey (default dict .Values.secrets.files) "hmac.keys")) -}}
{{- include "wawp-exporter.fullname" . }}-webhook-key
{{- end -}}
{{- end -}}

{{/* The Secrets whose keys are mounted as files, a name a line; empty for none. */}}
{{- define "wawp-exporter.secrets" -}}
{{- if .Values.secrets.existingSecret -}}
{{- .Values.secrets.existingSecret -}}
{{- else -}}
{{- $made := ternary (include "wawp-exporter.fullname" .) "" (not (empty .Values.secrets.files)) -}}
{{- list $made (include "wawp-exporter.ownKey" .) | compact | join "\n" -}}
{{- end -}}
{{- end -}}

{{/* Where a gateway sends webhooks: from outside if the values say where, else from within the cluster. */}}
{{- define "wawp-exporter.hook" -}}
{{- if .Values.ingress.hosts -}}
{{ ternary "https" "http" (not (empty .Values.ingress.tls)) }}://{{ first .Values.ingress.hosts }}/webhook
{{- else if .Values.httpRoute.hostnames -}}
https://{{ first .Values.httpRoute.hostnames }}/webhook
{{- else -}}
http://{{ include "wawp-exporter.fullname" . }}-webhooks.{{ .Release.Namespace }}:{{ .Values.service.ingress.port }}/webhook
{{- end -}}
{{- end -}}

{{/* The Secret that holds hmac.keys. */}}
{{- define "wawp-exporter.keySecret" -}}
{{- default (first (splitList "\n" (include "wawp-exporter.secrets" .))) (include "wawp-exporter.ownKey" .) -}}
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
{{- $_ := set $base "sources" (dict "default" (dict "hmac_keys_file" (include "wawp-exporter.keyFile" .))) -}}
{{- end -}}
{{- if eq .Values.database.kind "sqlite" -}}
{{- $_ := set $base "database" (dict "url" "sqlite:////data/wawp.db") -}}
{{- else if gt (int .Values.shards) 1 -}}
{{- $_ := set $base "shard" (dict "index" "auto" "total" (int .Values.shards)) -}}
{{- end -}}
{{- toYaml (mustMergeOverwrite $base (deepCopy .Values.config)) -}}
{{- end -}}
