package jobs

import _ "embed"

// JobSchema is the JSON Schema (draft 2020-12) of a [Job], as [Decode] reads it.
//
//go:embed schema/job.schema.json
var JobSchema []byte

// ResultSchema is the JSON Schema of a [Result], as [Result.Encode] writes it.
//
//go:embed schema/result.schema.json
var ResultSchema []byte

// BatchSchema is the JSON Schema of a [Batch], as [DecodeBatch] reads it.
//
//go:embed schema/batch.schema.json
var BatchSchema []byte

// SummarySchema is the JSON Schema of a [Summary], as [Summary.Encode] writes it.
//
//go:embed schema/summary.schema.json
var SummarySchema []byte
