package main

import (
	"fmt"
	"io"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// mostSamples is how many jobs a dry run shows, and mostSample how much of each field,
	// in characters.
	mostSamples = 3
	mostSample  = 400
)

// samples are the first jobs of a dry run.
type samples struct {
	mu   sync.Mutex
	jobs [][]byte
}

func (s *samples) add(job []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.jobs) < mostSamples {
		s.jobs = append(s.jobs, job)
	}
}

// write shows them for people.
func (s *samples) write(w io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(w, "\nThis was a dry run: no call was made.")
	if len(s.jobs) > 0 {
		fmt.Fprintln(w, "What would be done, for example:")
	}
	for _, data := range s.jobs {
		var job struct {
			User, Action                         string
			Params, Body, Message, Media, Output jsontext.Value
		}
		if json.Unmarshal(data, &job, json.MatchCaseInsensitiveNames(true)) != nil {
			continue // its result says what is wrong with it
		}
		fmt.Fprintf(w, "  %s  %s\n", job.User, job.Action)
		for _, f := range []struct {
			name  string
			value jsontext.Value
		}{{"params", job.Params}, {"body", job.Body}, {"message", job.Message}, {"media", job.Media}, {"output", job.Output}} {
			if f.value != nil {
				fmt.Fprintf(w, "      %-8s %s\n", f.name, cut(printable(string(f.value)), mostSample))
			}
		}
	}
}
