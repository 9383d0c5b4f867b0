package main

import "encoding/json"

// document is what is read of a Discovery document
// (https://developers.google.com/discovery/v1/reference/apis).
type document struct {
	Version     string            `json:"version"`
	RootURL     string            `json:"rootUrl"`
	ServicePath string            `json:"servicePath"`
	Schemas     map[string]schema `json:"schemas"`
	resource
}

type resource struct {
	Methods   map[string]method   `json:"methods"`
	Resources map[string]resource `json:"resources"`
}

type method struct {
	ID             string            `json:"id"`
	Description    string            `json:"description"`
	HTTPMethod     string            `json:"httpMethod"`
	Path           string            `json:"path"`
	Parameters     map[string]schema `json:"parameters"`
	ParameterOrder []string          `json:"parameterOrder"`
	Request        reference         `json:"request"`
	Response       reference         `json:"response"`
	Scopes         []string          `json:"scopes"`
	MediaUpload    *mediaUpload      `json:"mediaUpload"`
	MediaDownload  bool              `json:"supportsMediaDownload"`
}

type reference struct {
	Ref string `json:"$ref"`
}

type mediaUpload struct {
	Accept    []string    `json:"accept"`
	MaxSize   json.Number `json:"maxSize"`
	Protocols struct {
		Simple    struct{ Path string }
		Resumable struct{ Path string }
	}
}

// schema is a parameter, a schema or one of its properties: JSON Schema, draft 3.
type schema struct {
	Ref         string            `json:"$ref"`
	Type        string            `json:"type"`
	Format      string            `json:"format"`
	Description string            `json:"description"`
	Enum        []string          `json:"enum"`
	Pattern     string            `json:"pattern"`
	Minimum     string            `json:"minimum"`
	Maximum     string            `json:"maximum"`
	Default     string            `json:"default"`
	Location    string            `json:"location"`
	Required    bool              `json:"required"`
	Repeated    bool              `json:"repeated"`
	ReadOnly    bool              `json:"readOnly"`
	Items       *schema           `json:"items"`
	Properties  map[string]schema `json:"properties"`
	Additional  *schema           `json:"additionalProperties"`
	Annotations struct {
		Required []string `json:"required"`
	} `json:"annotations"`
}
