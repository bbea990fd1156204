{{- define "labels" -}}
app.kubernetes.io/name: weightgate-plant
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
