package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
)

// target is for how many jobs the table is.
const target = 1_000_000

// quota is how much Google lets be done in a minute.
type quota struct {
	name string
	a    float64 // minute
	need func(m *measured) float64
	from string // where it is stated
}

// quotas are those that a batch meets, as stated in November 2026.
var quotas = []quota{
	{"Gmail, units of the project", 1_200_000, func(m *measured) float64 { return m.units() * target }, "https://developers.google.com/workspace/gmail/api/reference/quota"},
	{"IAM, signJwt of the project", 60_000, func(m *measured) float64 { return m.perJob(m.calls["signJwt"]) * target }, "https://cloud.google.com/iam/quotas"},
	{"Directory, calls of the administrator", 2400, func(m *measured) float64 { return float64(m.lists) / moreUsers * target }, "https://developers.google.com/workspace/admin/directory/v1/limits"},
	// It is no quota: what is above it meets contention, and is tried again.
	{"Firestore, counts: 64 documents, each written about once a second", 64 * 60, func(m *measured) float64 { return (m.perJob(m.doing.Writes) - entryWrites) * target }, "https://cloud.google.com/firestore/quotas#soft_limits"},
}

const (
	// pageLength is how many users FanOut takes at a time.
	pageLength = 500
	// entryWrites are the writes of a job that are not to counts: its claim and its result.
	entryWrites = 2
)

// freeUnits are what a day has (https://developers.google.com/workspace/gmail/api/reference/quota).
const freeUnits = 80_000_000

// Prices in US dollars, without what is free a day or a month, as published in November 2026.
const (
	// https://cloud.google.com/firestore/pricing: the multi-region nam5; what expires is deleted too.
	aRead, aWrite, aDelete = 0.06 / 100_000, 0.18 / 100_000, 0.02 / 100_000
	// https://cloud.google.com/pubsub/pricing
	aTiB = 40.0
	// https://cloud.google.com/run/pricing: with request-based billing, in tier 1.
	aRequest, aCPUSecond, aGiBSecond = 0.40 / 1_000_000, 0.000024, 0.0000025
	// memory is what an instance has, in GiB, beside one processor.
	memory = 0.5
)

// perJob is what is counted of all jobs, of one.
func (m *measured) perJob(n int) float64 { return float64(n) / float64(m.jobs) }

// units are the Gmail units of a job.
func (m *measured) units() float64 {
	methods, units := actions.NewMethods(), 0
	for call, n := range m.calls {
		if d, err := methods.Describe(call); err == nil && strings.HasPrefix(call, "gmail.") {
			units += n * d.Units
		}
	}
	return m.perJob(units)
}

// row is one of a table.
func row(out io.Writer, name, format string, args ...any) {
	fmt.Fprintf(out, "  %-68s "+format+"\n", append([]any{name}, args...)...)
}

// print says it all.
func (m *measured) print(out io.Writer) {
	fmt.Fprintf(out, "One job of a batch, counted over %d inserts for as many users:\n", m.jobs)
	m.printJob(out)
	fmt.Fprintf(out, "\n%d jobs at Google's quotas:\n", target)
	longest := m.printTimes(out)
	fmt.Fprintf(out, "\n%d jobs at Google's prices, in US dollars:\n", target)
	m.printCosts(out, longest)
	fmt.Fprintf(out, `
Each answer of Google's takes %v here, the network's way included; an instance has one
processor and %v GiB, and does %d jobs at a time. One subscription reads the results. What is
free a day or a month is not deducted. Workspace's APIs and IAM cost nothing within the quotas;
of the %d million Gmail units that a day has before they are charged for, this takes %.0f million.
`, m.latency, memory, m.atOnce, freeUnits/1_000_000, m.units()*target/1_000_000)
}

func (m *measured) printJob(out io.Writer) {
	names := make([]string, 0, len(m.calls))
	for name := range m.calls {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return m.calls[b] - m.calls[a] })
	for _, name := range names {
		row(out, "calls of "+name, "%8.3f", m.perJob(m.calls[name]))
	}
	row(out, "Gmail units", "%8.3f", m.units())
	row(out, "Firestore, by Execute", "%8.3f reads, %.3f writes (%.3f new), %.3f deletes", m.perJob(m.doing.Reads), m.perJob(m.doing.Writes), m.perJob(m.doing.Creates), m.perJob(m.doing.Deletes))
	row(out, "Firestore, by FanOut, for 500 users", "%8d reads, %d writes (%d new)", m.page.Reads, m.page.Writes, m.page.Creates)
	row(out, "Firestore, by FanOut, for a batch beside that", "%8d reads, %d writes (%d new)", m.begin.Reads, m.begin.Writes, m.begin.Creates)
	row(out, "Firestore, by Sweep, a minute at most", "%8d reads, %d writes", m.sweep.Reads, m.sweep.Writes)
	row(out, "Pub/Sub, bytes charged for", "%8.0f published, %.0f delivered", m.perJob(m.published), m.perJob(m.delivered))
	row(out, "processor, Execute", "%8.3f ms", m.perJob(int(m.cpuDo.Microseconds()))/1000)
	row(out, "processor, FanOut, for 500 users", "%8.3f ms", m.cpuFan.Seconds()*1000)
	row(out, "under way, Execute", "%8.0f ms", m.perJob(int(m.busy.Milliseconds())))
	row(out, "under way, FanOut, for 500 users", "%8.0f ms", m.listing.Seconds()*1000)
	row(out, "calls of "+listUsers+" for 500 users", "%8.3f", float64(m.lists)/moreUsers*pageLength)
}

// printTimes gives the longest.
func (m *measured) printTimes(out io.Writer) (longest time.Duration) {
	for _, q := range quotas {
		takes := time.Duration(q.need(m) / q.a * float64(time.Minute))
		row(out, q.name, "%8s   %s", takes.Round(time.Second), q.from)
		longest = max(longest, takes)
	}
	return longest
}

func (m *measured) printCosts(out io.Writer, takes time.Duration) {
	scale, pages := float64(target)/float64(m.jobs), float64(pagesOf(target))
	sweeps := math.Ceil(takes.Minutes())
	all := func(of func(part) int) float64 {
		return float64(of(m.doing))*scale + float64(of(m.page))*pages + float64(of(m.begin)) + float64(of(m.sweep))*sweeps
	}
	tebibytes := float64(m.published+m.delivered) * scale / (1 << 40)
	seconds := max(m.busy.Seconds()/float64(m.atOnce), m.cpuDo.Seconds())*scale + m.listing.Seconds()*pages
	total := 0.0
	for _, c := range []struct {
		name   string
		amount float64
		price  float64
	}{
		{"Firestore, reads", all(func(p part) int { return p.Reads }), aRead},
		{"Firestore, writes", all(func(p part) int { return p.Writes }), aWrite},
		{"Firestore, deletes, of what has expired too", all(func(p part) int { return p.Creates + p.Deletes }), aDelete},
		{"Pub/Sub, TiB", tebibytes, aTiB},
		{"Cloud Run, requests", target + sweeps, aRequest},
		{"Cloud Run, seconds of an instance", seconds, aCPUSecond + memory*aGiBSecond},
	} {
		row(out, c.name, "%14.6g   %7.2f", c.amount, c.amount*c.price)
		total += c.amount * c.price
	}
	row(out, "all", "%14s   %7.2f", "", total)
}
