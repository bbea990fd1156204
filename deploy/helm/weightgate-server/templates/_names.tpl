{{- define "labels" -}}
app.kubernetes.io/name: weightgate-server
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
